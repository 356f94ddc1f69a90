"""Sessions that Temporal cannot go on with: errors say why and where to look, reads come from the store.

A worker that holds newer state than its server is the third reason (`test_older_temporal.py`).
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from playhead.temporal.client import PlayheadPlugin
from tests.api.sessions.broken_session import DEFECT, BrokenSession, BrokenSuite
from tests.e2e.processes import until_seen
from tests.operators.operator_stack import TABLE, Json, texts
from tests.operators.separate_services import SeparateServices

MESSAGE = {"text": "On Friday", "message_id": "m-1"}


def test_errors_of_a_paused_session_name_the_pause_and_it_goes_on_afterwards(services: SeparateServices) -> None:
    with services.worker():
        session_id, live = settled(services)
        services.workflow("pause", "-w", f"session-{session_id}", "--reason", "being looked at")
        for error in errors_of(services, session_id):
            assert (error["reason"], error["failure"]) == ("workflow_paused", "being looked at")
            assert f"temporal workflow unpause --workflow-id session-{session_id}" in error["detail"]
        is_readable(services, session_id, live)
        services.workflow("unpause", "-w", f"session-{session_id}")
        goes_on(services, session_id)


def test_errors_of_a_failing_workflow_name_the_failure_and_the_earlier_code_goes_on(
    services: SeparateServices,
) -> None:
    with services.worker():
        session_id, live = settled(services)
    with broken_worker(services):
        for error in errors_of(services, session_id):
            assert (error["reason"], error["failure"]) == ("workflow_task_failed", DEFECT)
            assert f"session-{session_id}" in error["detail"]
        is_readable(services, session_id, live)
    with services.worker():
        goes_on(services, session_id)


def settled(services: SeparateServices) -> tuple[str, Json]:
    """A session with one answer, recorded as it is shown."""
    session_id = services.create()
    services.say(session_id, TABLE)
    return session_id, services.compare(session_id)


def errors_of(services: SeparateServices, session_id: str) -> list[Json]:
    """The errors of a message and a rewind that are sent at once."""
    http, path = services.stack.http, f"/v1/sessions/{session_id}"
    commands = (("messages", MESSAGE), ("rewind", {"turn_id": None}))
    with ThreadPoolExecutor(len(commands)) as threads:
        answers = list(threads.map(lambda each: http.post(f"{path}/{each[0]}", json=each[1]), commands))
    errors: list[Json] = [answer.json() for answer in answers]
    assert [(answer.status_code, each["code"]) for answer, each in zip(answers, errors, strict=True)] == [
        (503, "session_stuck")
    ] * len(commands)
    return errors


def is_readable(services: SeparateServices, session_id: str, live: Json) -> None:
    """Check that the session and the beginning of its stream show what was recorded."""
    shown = services.session(session_id)
    assert (texts(shown), shown["status"], shown["is_completed"]) == (texts(live), live["status"], False)
    with services.stack.http.stream("GET", f"/v1/sessions/{session_id}/events") as stream:
        snapshot = next(line for line in stream.iter_lines() if line.startswith("data:"))
    assert texts(json.loads(snapshot.removeprefix("data:"))) == texts(live)


def goes_on(services: SeparateServices, session_id: str) -> None:
    """Check that the rejected message is answered once when Temporal tries again, and that the witnesses agree."""

    def is_answered() -> bool:
        return services.stack.http.post(f"/v1/sessions/{session_id}/messages", json=MESSAGE).status_code == 200

    until_seen(is_answered, lambda: f"{services.session(session_id)}")
    assert texts(services.compare(session_id)) == [None, TABLE, "On Friday"]


@contextmanager
def broken_worker(services: SeparateServices) -> Iterator[None]:
    """A worker whose workflow code has a defect."""

    async def started() -> Worker:
        client = await Client.connect(services.temporal_address, plugins=[PlayheadPlugin()])
        worker = Worker(client, task_queue="playhead", workflows=[BrokenSession, BrokenSuite])
        return await worker.__aenter__()

    worker = services.loop.run(started())
    try:
        yield
    finally:
        services.loop.run(worker.__aexit__(None, None, None))


@pytest.fixture(autouse=True)
def _is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Hide the SDK's log: it has the defect at every attempt."""
    caplog.set_level("CRITICAL", logger="temporalio")
