"""A worker that goes on while Temporal's database is set back: it holds newer state than its server."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.e2e.processes import until_seen
from tests.operators.operator_stack import Json, copied, restored, texts
from tests.operators.separate_services import SeparateServices, separate_services, stored_tasks
from tests.support.loop_thread import LoopThread
from tests.support.provider import ModelProvider


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_errors_name_a_worker_that_was_not_restarted_and_a_restart_ends_them(
    request: pytest.FixtureRequest, tmp_path: Path, journaling_provider: ModelProvider, loop: LoopThread, database: str
) -> None:
    url = request.getfixturevalue("postgres").new_database() if database == "postgresql" else None
    with separate_services(tmp_path, journaling_provider, loop, url) as services:
        http, four = services.stack.http, {"text": "Four", "message_id": "m-4"}
        with services.worker():
            session_id = services.create()
            path = f"/v1/sessions/{session_id}"
            services.say(session_id, "One")
            at_rest(services, session_id)
            with services.without_server():
                copied(tmp_path, "temporal.db", tmp_path / "backup")
            for text in ("Two", "Three"):
                services.say(session_id, text)
            at_rest(services, session_id)
            recorded = {read: http.get(f"{path}{read}").json() for read in READS}
            with services.without_server():
                restored(tmp_path / "backup", "temporal.db", tmp_path)
            # The API sends two commands of a session at once: all of them take half a minute.
            commands = COMMANDS if database == "sqlite" else COMMANDS[:1]
            turn_id = recorded["/turns"]["items"][-1]["id"]
            answers = answers_to(http, path, [("POST", "messages", four), *commands], turn_id)
            found = {answer.request.url.path: (answer.status_code, answer.json().get("reason")) for answer in answers}
            assert found == dict.fromkeys(found, (503, "worker_is_ahead")), [answer.text for answer in answers]
            assert {answer.json()["code"] for answer in answers} == {"session_stuck"}
            assert {read: http.get(f"{path}{read}").json() for read in READS} == recorded
            assert texts(services.session(session_id)) == [None, "One", "Two", "Three"]
            assert "Three" in http.get(f"{path}/transcript").text
        with services.worker():
            answer = http.post(f"{path}/messages", json=four)
            assert answer.status_code == 200, answer.text
            assert texts(answer.json()) == [None, "One", "Four"]
            [branch] = services.compare(session_id, all_in_temporal=False)["discarded_branches"]
            assert [turn["user_message"]["text"] for turn in branch["turns"]] == ["Two", "Three"]


COMMANDS: tuple[tuple[str, str, Json], ...] = (
    ("POST", "turns/{turn}/edit", {"text": "Five"}),
    ("POST", "turns/{turn}/regenerate", {}),
    ("POST", "cancel", {}),
    ("POST", "rewind", {"turn_id": None}),
    ("POST", "branches/br_0/restore", {}),
    ("POST", "approvals/call_0/approve", {}),
    ("POST", "approvals/call_0/deny", {}),
    ("POST", "client-calls/call_0/result", {"result": "done"}),
    ("PUT", "simulator", {"enabled": False}),
    ("POST", "end", {}),
)
"""Every command of a session besides messages."""
READS = ("/turns", "/tree", "/branches")


def answers_to(
    http: httpx2.Client, path: str, commands: Sequence[tuple[str, str, Json]], turn_id: str
) -> list[httpx2.Response]:
    """The answers to commands of a session, sent at once."""
    requests = [
        http.build_request(method, f"{path}/{command.format(turn=turn_id)}", json=body)
        for method, command, body in commands
    ]
    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(http.send, requests))


def at_rest(services: SeparateServices, session_id: str) -> None:
    """Wait until all is recorded, the worker's last task caused no event that it has not seen, and no task is stored.

    Only then does the worker write nothing into a history that is set back, as
    tests/workflows/test_polluted_history.py shows, and keep the session when the server is started.
    """
    services.compare(session_id)

    def is_at_rest() -> bool:
        history = json.loads(services.workflow("show", "-w", f"session-{session_id}", "-o", "json"))
        seen = history["events"][-1]["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED"
        return bool(seen and not stored_tasks(services.stack.folder))

    until_seen(is_at_rest, lambda: "its workflow did not come to rest")
