"""The client's requests are operations of the OpenAPI document: their paths, query parameters and body fields."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, TypeVar, get_args

import pytest

from playhead_client import EventStream, OnBusy, SessionLimits, SessionStatus, SimulatorConfig, TranscriptFormat
from playhead_client._sync.agents import Agents
from playhead_client._sync.documents import Documents
from playhead_client._sync.sessions import Sessions
from playhead_client._sync.suites import Suites
from playhead_client._sync.transport import Transport
from playhead_client._sync.usage import Usage
from playhead_client.calls import Call, Listing
from playhead_client.stream_position import StreamPosition
from tests.playhead_client.openapi import Document, Schema

Item = TypeVar("Item")


class Sent(Exception):
    """A call that the client would have sent."""

    def __init__(self, call: Call[Any] | None) -> None:
        assert call is not None
        self.call: Call[Any] = call


class Recorder(Transport):
    """Raises each call instead of sending it."""

    def __init__(self) -> None:
        pass

    def send(self, call: Call[Any]) -> Any:
        raise Sent(call)

    def items(self, listing: Listing[Item]) -> Iterator[Item]:
        raise Sent(listing.page("cursor", 0))

    def follow(self, position: StreamPosition) -> Any:
        raise Sent(position.request())


NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
LIMITS, SIMULATOR = SessionLimits(max_turns=3), SimulatorConfig(goal="Book a table.")
recorder = Recorder()
sessions, agents, suites, usage = Sessions(recorder), Agents(recorder), Suites(recorder), Usage(recorder)
documents = Documents(recorder)

CALLS: list[tuple[str, Callable[[], object]]] = [
    (
        "POST /v1/sessions",
        lambda: sessions.open(
            "a", version=1, name="n", initial_context={}, annotations={}, limits=LIMITS, simulator=SIMULATOR, wait=False
        ),
    ),
    (
        "GET /v1/sessions",
        lambda: sessions.list(
            status="idle",
            agent="a",
            agent_version=2,
            suite="s",
            created_after=NOON,
            forked_from="f",
            billed_model="m",
            billed_purpose="judge",
            billed_from=NOON.date(),
            billed_to=NOON.date(),
            zone="Europe/Rome",
            search="q",
            order="updated",
            limit=1,
        ),
    ),
    ("GET /v1/sessions/{session_id}", lambda: sessions.get("s")),
    ("DELETE /v1/sessions/{session_id}", lambda: sessions.erase("s")),
    ("GET /v1/sessions/{session_id}/turns", lambda: sessions.turns("s", limit=1)),
    ("GET /v1/sessions/{session_id}/turns/{turn_id}/steps", lambda: sessions.steps("s", "t", limit=1)),
    ("GET /v1/sessions/{session_id}/tree", lambda: sessions.tree("s", search="q", limit=1)),
    ("GET /v1/sessions/{session_id}/branches", lambda: sessions.branches("s", limit=1)),
    ("GET /v1/sessions/{session_id}/branches/compare", lambda: sessions.compare("s", "b")),
    ("GET /v1/sessions/{session_id}/transcript", lambda: sessions.transcript("s", "json")),
    ("GET /v1/sessions/{session_id}/events", lambda: next(sessions.watch("s", after=1))),
    (
        "POST /v1/sessions/{session_id}/messages",
        lambda: sessions.submit(
            "s", "text", message_id="m", expected_revision=1, on_busy="enqueue", client_tools=["c"]
        ),
    ),
    (
        "POST /v1/sessions/{session_id}/rewind",
        lambda: sessions.rewind("s", "t", before=True, expected_revision=1),
    ),
    (
        "POST /v1/sessions/{session_id}/turns/{turn_id}/edit",
        lambda: sessions.edit("s", "t", "text", message_id="m", expected_revision=1, client_tools=["c"]),
    ),
    (
        "POST /v1/sessions/{session_id}/turns/{turn_id}/regenerate",
        lambda: sessions.regenerate("s", "t", message_id="m", expected_revision=1),
    ),
    ("POST /v1/sessions/{session_id}/cancel", lambda: sessions.cancel("s", expected_revision=1)),
    (
        "POST /v1/sessions/{session_id}/branches/{branch_id}/restore",
        lambda: sessions.restore("s", "b", expected_revision=1),
    ),
    (
        "POST /v1/sessions/{session_id}/fork",
        lambda: sessions.fork("s", turn_id="t", agent="a", version=1, model="m", name="n"),
    ),
    (
        "POST /v1/sessions/{session_id}/approvals/{call_id}/{decision}",
        lambda: sessions.decide("s", "c", "deny", reason="no", expected_revision=1),
    ),
    (
        "POST /v1/sessions/{session_id}/client-calls/{call_id}/result",
        lambda: sessions.return_result("s", "c", {"ok": False}, is_error=True, expected_revision=1),
    ),
    (
        "PUT /v1/sessions/{session_id}/simulator",
        lambda: sessions.set_simulator("s", config=SIMULATOR, expected_revision=1),
    ),
    ("POST /v1/sessions/{session_id}/end", lambda: sessions.end("s", reason="done", expected_revision=1)),
    ("POST /v1/agents", lambda: agents.push("{}", format="dograh", name="n")),
    ("DELETE /v1/agents/{agent_id}", lambda: agents.erase("a")),
    ("POST /v1/documents", lambda: documents.upload("a.md", b"x")),
    ("GET /v1/documents", lambda: documents.list(limit=1)),
    ("GET /v1/documents/{sha256}", lambda: documents.get("0")),
    ("DELETE /v1/documents/{sha256}", lambda: documents.erase("0")),
    ("GET /v1/agents", lambda: agents.list(limit=1)),
    ("GET /v1/agents/{agent_id}/versions", lambda: agents.versions("a", limit=1)),
    ("GET /v1/agents/{agent_id}", lambda: agents.get("a")),
    ("GET /v1/agents/{agent_id}/versions/{version}", lambda: agents.get("a", 1)),
    (
        "POST /v1/suites",
        lambda: suites.start(
            "{}", repeats=1, concurrency=1, budget_usd=Decimal(1), seed=1, min_pass_rate=0.5, tags=("t",)
        ),
    ),
    ("GET /v1/suites", lambda: suites.list(agent="clerk", agent_version=2, limit=1)),
    ("GET /v1/suites/{suite_id}", lambda: suites.get("s")),
    (
        "GET /v1/suites/{suite_id}/runs",
        lambda: suites.runs("s", outcome="failed", scenario="c", updated_after=NOON, limit=1),
    ),
    ("GET /v1/suites/{suite_id}/events", lambda: next(suites.watch("s"))),
    ("GET /v1/suites/{suite_id}/definition", lambda: suites.definition("s")),
    ("GET /v1/suites/{suite_id}/report", lambda: suites.report("s", transcripts=False, baseline="b")),
    ("POST /v1/suites/{suite_id}/{command}", lambda: suites.steer("s", "pause")),
    ("GET /v1/usage", lambda: usage.between(NOON.date(), NOON.date(), by=("day", "agent"), zone="UTC")),
    ("GET /v1/about", usage.about),
    ("GET /v1/usage/ledger", lambda: usage.ledger(session_id="s", limit=1)),
]
"""Each operation, and the call of the client with every argument."""
NEVER_SENT = {
    "POST /v1/agents": {"dry_run", "document"},
    "GET /v1/sessions/{session_id}/events": {"ticket"},
    "GET /v1/sessions/{session_id}/turns": {"around"},
    "POST /v1/sessions/{session_id}/turns/{turn_id}/edit": {"wait"},
    "POST /v1/sessions/{session_id}/turns/{turn_id}/regenerate": {"wait"},
    "GET /v1/agents/{agent_id}": {"format"},
    "GET /v1/agents/{agent_id}/versions/{version}": {"format"},
    "GET /v1/suites/{suite_id}/report": {"format"},
}
"""Query parameters that these calls leave out; `written_report` and `written` send the format, `check` the dry run and
the digests of files, `turns_around` the turn."""
OF_OPENAI = {
    "POST /v1/chat/completions",
    "POST /v1/responses",
    "GET /v1/responses/{response_id}",
    "DELETE /v1/responses/{response_id}",
    "GET /v1/models",
    "GET /v1/models/{model}",
}
"""Operations for OpenAI's own clients."""
OF_BROWSERS = {"POST /v1/sessions/{session_id}/events/ticket"}
"""Operations for pages, which cannot send a header with an event stream."""


def sent_by(call: Callable[[], object]) -> Call[Any]:
    with pytest.raises(Sent) as sent:
        call()
    return sent.value.call


@pytest.mark.parametrize(("operation", "make"), CALLS, ids=[operation for operation, _ in CALLS])
def test_request_is_that_of_the_openapi_document(
    operation: str, make: Callable[[], object], document: Document
) -> None:
    call, described = sent_by(make), document.operations[operation]
    method, template = operation.split()
    assert call.method == method
    assert re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), call.path)
    parameters = {each["name"] for each in described.get("parameters", ()) if each["in"] == "query"}
    assert set(call.query) == parameters - NEVER_SENT.get(operation, set())
    if (call.headers or {}).get("Content-Type") == "application/json" and call.content != b"{}":
        body: Schema = json.loads(call.content or b"")
        assert set(body) == document.fields_of_body(described)


def test_a_message_is_sent_and_streamed_as_it_is_submitted() -> None:
    submitted = sent_by(lambda: sessions.submit("s", "text", message_id="m"))
    sent = sent_by(lambda: sessions.send("s", "text", message_id="m"))
    streamed = sessions.stream("s", "text", message_id="m")
    assert isinstance(streamed, EventStream)
    for call in (sent, sent_by(lambda: next(streamed))):
        assert (call.path, call.content) == (submitted.path, submitted.content)
        assert not call.query


def test_the_turns_around_a_turn_are_one_page_without_a_cursor() -> None:
    call = sent_by(lambda: sessions.turns_around("s", "t", limit=20))
    assert (call.path, call.query) == ("/v1/sessions/s/turns", {"around": "t", "limit": "20"})


def test_a_definition_is_checked_as_it_is_pushed() -> None:
    pushed = sent_by(lambda: agents.push("{}", format="dograh", name="n"))
    checked = sent_by(lambda: agents.check("{}", format="dograh", name="n"))
    assert (checked.path, checked.content) == (pushed.path, pushed.content)
    assert checked.query == {**pushed.query, "dry_run": "true"}


def test_every_operation_has_a_method(document: Document) -> None:
    missing = set(document.operations) - {operation for operation, _ in CALLS} - OF_OPENAI - OF_BROWSERS
    assert not missing, f"add a method to playhead_client/_async, and its call here: {sorted(missing)}"


def test_choices_are_those_of_the_openapi_document(document: Document) -> None:
    messages, transcript = "POST /v1/sessions/{session_id}/messages", "GET /v1/sessions/{session_id}/transcript"
    assert document.choices_of_body(messages, "on_busy") == set(get_args(OnBusy))
    assert document.choices_of_query(transcript, "format") == set(get_args(TranscriptFormat))
    assert document.choices_of_query("GET /v1/sessions", "status") == set(get_args(SessionStatus))


def test_files_of_an_agent_are_uploaded_before_it_and_named_by_their_digests() -> None:
    uploaded = sent_by(lambda: agents.push("{}", files={"faq.md": b"Words."}))
    assert (uploaded.path, uploaded.query, uploaded.content) == ("/v1/documents", {"name": "faq.md"}, b"Words.")
    checked = sent_by(lambda: agents.check("{}", files={"faq.md": b"Words."}))
    assert checked.query["document"] == [f"{sha256(b'Words.').hexdigest()}:faq.md"]
