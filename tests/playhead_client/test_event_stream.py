"""The Python client's streams: every event once and in order, even after reconnects."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from api.schemas.examples import SESSION, TURN
from playhead_client import (
    APIConnectionError,
    AsyncPlayhead,
    Event,
    NotFound,
    Playhead,
    ReplyDelta,
    ReplyReset,
    Session,
    TurnClosed,
)
from tests.support.client_events import received

SESSION_ID = SESSION["id"]
PATH = f"/v1/sessions/{SESSION_ID}"
TURN_ID = TURN["id"]
AT = TURN["created_at"]

SentEvent = tuple[str, dict[str, Any], int | None]

STARTED: SentEvent = (
    "turn_started",
    {"turn_id": TURN_ID, "created_at": AT, "parent_id": None, "index": 1, "user_message": TURN["user_message"]},
    4,
)
CLOSED: SentEvent = ("turn_completed", {"turn_id": TURN_ID, "created_at": AT, "turn": TURN}, 6)
MOVED: SentEvent = (
    "node_transition",
    {"turn_id": TURN_ID, "created_at": AT, "from_node": "greet", "to_node": "booking"},
    5,
)
OVER: SentEvent = ("session_completed", {"created_at": AT, "reason": "end_node"}, 7)
SNAPSHOT: SentEvent = ("snapshot", SESSION, 3)
LOG = [STARTED, MOVED, CLOSED, OVER]


def delta(text: str) -> SentEvent:
    return ("reply_delta", {"turn_id": TURN_ID, "text": text}, None)


def wire(*events: SentEvent) -> bytes:
    """Events as the API sends them."""
    pieces = [": still here\n\n"]
    for kind, data, number in events:
        numbered = "" if number is None else f"id: {number}\n"
        pieces.append(f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n{numbered}\n")
    return "".join(pieces).encode()


def stream(*events: SentEvent, cut: bool = False) -> Response:
    """An answer with these events; one that is `cut` ends in the middle of something."""
    body = wire(*events)
    response = Response(body, content_type="text/event-stream")
    response.automatically_set_content_length = False
    response.headers["Content-Length"] = str(len(body) + cut)
    return response


def streamed_text(events: Sequence[Event]) -> str:
    """The text that results from deltas and resets."""
    text = ""
    for event in events:
        match event.data:
            case ReplyDelta():
                text += event.data.text
            case ReplyReset():
                text = event.data.text
    return text


@pytest.fixture
def playhead(httpserver: HTTPServer) -> Iterator[Playhead]:
    with Playhead(httpserver.url_for(""), sleep=lambda _: None) as client:
        yield client
    httpserver.check_assertions()


def answering(server: HTTPServer, path: str, answers: Sequence[Response]) -> list[Request]:
    """Let the server send these responses one after the other; returns the requests it received."""
    left, requests = [*answers], list[Request]()

    def give(request: Request) -> Response:
        requests.append(request)
        return left.pop(0)

    server.expect_request(path).respond_with_handler(give)
    return requests


def test_a_watched_session_is_streamed_from_a_snapshot_to_its_end(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = answering(httpserver, f"{PATH}/events", [stream(SNAPSHOT, STARTED, delta("Hello."), CLOSED, OVER)])
    snapshot, started, text_delta, closed, over = playhead.sessions.watch(SESSION_ID)
    assert snapshot == Event("snapshot", Session.model_validate(SESSION), 3)
    assert (started.type, started.id) == ("turn_started", 4)
    assert text_delta.data == ReplyDelta(turn_id=TURN_ID, text="Hello.")
    assert isinstance(closed.data, TurnClosed)
    assert closed.data.turn.id == TURN_ID
    assert over.data.model_extra == {"reason": "end_node"}
    assert "Last-Event-ID" not in requests[0].headers


@pytest.mark.parametrize("length", range(len(LOG)))
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "ended"])
def test_a_lost_connection_loses_and_repeats_nothing(
    httpserver: HTTPServer, playhead: Playhead, length: int, cut: bool
) -> None:
    requests: list[Request] = []

    def log(request: Request) -> Response:
        requests.append(request)
        known = int(request.headers["Last-Event-ID"])
        rest = [event for event in LOG if event[2] is not None and event[2] > known]
        return stream(*rest[:length], cut=cut) if len(requests) == 1 else stream(*rest)

    httpserver.expect_request(f"{PATH}/events").respond_with_handler(log)
    httpserver.expect_request(PATH).respond_with_json({**SESSION, "is_completed": False})
    events = [*playhead.sessions.watch(SESSION_ID, after=3)]
    assert [event.id for event in events] == [4, 5, 6, 7]
    assert len(requests) == 2


def test_connections_may_be_lost_as_often_as_events_come(httpserver: HTTPServer, playhead: Playhead) -> None:
    numbers = range(1, 12)
    pieces = [("node_transition", MOVED[1], number) for number in numbers]
    requests = answering(httpserver, f"{PATH}/events", [*(stream(piece, cut=True) for piece in pieces), stream(OVER)])
    events = [*playhead.sessions.watch(SESSION_ID, after=0)]
    assert [event.id for event in events] == [*numbers, 7]
    assert [request.headers["Last-Event-ID"] for request in requests] == [str(number) for number in range(12)]


def test_a_session_that_was_closed_from_outside_has_no_last_event(httpserver: HTTPServer, playhead: Playhead) -> None:
    answering(httpserver, f"{PATH}/events", [stream(SNAPSHOT), stream()])
    closed = {**SESSION, "is_completed": True, "completion_reason": "workflow_terminated"}
    httpserver.expect_request(PATH).respond_with_json(closed)
    assert [event.type for event in playhead.sessions.watch(SESSION_ID)] == ["snapshot"]


def test_a_stream_ends_when_the_api_has_no_further_events(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = answering(httpserver, f"{PATH}/events", [stream(SNAPSHOT, cut=True), Response(status=204)])
    assert [event.type for event in playhead.sessions.watch(SESSION_ID)] == ["snapshot"]
    assert requests[1].headers["Last-Event-ID"] == "3"


def test_a_stream_that_cannot_be_resumed_raises_an_error(httpserver: HTTPServer, playhead: Playhead) -> None:
    answering(httpserver, f"{PATH}/events", [stream(SNAPSHOT, cut=True), *[Response("<html>", 503)] * 3])
    events = playhead.sessions.watch(SESSION_ID)
    assert next(events).type == "snapshot"
    with pytest.raises(APIConnectionError):
        next(events)


def test_a_client_error_is_not_retried(httpserver: HTTPServer, playhead: Playhead) -> None:
    problem = Response(json.dumps({"code": "not_found", "detail": "No."}), 404)
    answering(httpserver, f"{PATH}/events", [problem])
    with pytest.raises(NotFound):
        next(playhead.sessions.watch(SESSION_ID))


def test_a_reply_is_received_as_it_is_generated(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = answering(
        httpserver, f"{PATH}/messages", [stream(STARTED, delta("With "), MOVED, delta("pleasure."), CLOSED)]
    )
    events = [*playhead.sessions.stream(SESSION_ID, "A table, please.", expected_revision=2)]
    assert streamed_text(events) == "With pleasure."
    assert [event.type for event in events] == [
        "turn_started", "reply_delta", "node_transition", "reply_delta", "turn_completed",
    ]  # fmt: skip
    assert requests[0].headers["Accept"] == "text/event-stream"
    assert requests[0].get_json()["expected_revision"] == 2


@pytest.mark.parametrize("sent", range(5))
def test_a_reply_survives_a_lost_connection_and_its_turn_is_streamed_once(
    httpserver: HTTPServer, playhead: Playhead, sent: int
) -> None:
    first = [STARTED, delta("With "), MOVED, delta("plea"), delta("sure")]
    again = [STARTED, MOVED, delta("With pleasure."), CLOSED]
    requests = answering(httpserver, f"{PATH}/messages", [stream(*first[:sent], cut=True), stream(*again)])
    events = [*playhead.sessions.stream(SESSION_ID, "A table, please.")]
    assert streamed_text(events) == "With pleasure."
    durable = [event.type for event in events if event.id is not None]
    assert durable == ["turn_started", "node_transition", "turn_completed"]
    assert len({request.get_json()["message_id"] for request in requests}) == 1


def test_text_may_contain_other_line_separators(httpserver: HTTPServer, playhead: Playhead) -> None:
    strange = "one\u2028two\x85three\x0bfour\rfive"
    answering(httpserver, f"{PATH}/messages", [stream(STARTED, delta(strange), CLOSED)])
    assert streamed_text([*playhead.sessions.stream(SESSION_ID, "Hello")]) == strange


def test_events_are_read_however_the_bytes_arrive() -> None:
    whole = wire(STARTED, delta("Grüße"), MOVED, CLOSED)
    expected = received(whole)
    assert len(expected) == 4
    for size in (1, 2, 7):
        assert received(*(whole[at : at + size] for at in range(0, len(whole), size))) == expected
    assert received(whole.replace(b"\n", b"\r\n")) == expected


async def test_the_async_client_follows_in_the_same_way(httpserver: HTTPServer) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    answering(httpserver, f"{PATH}/events", [stream(SNAPSHOT, STARTED, cut=True), stream(MOVED, CLOSED), stream(OVER)])
    answering(
        httpserver,
        f"{PATH}/messages",
        [stream(STARTED, delta("Wi"), cut=True), stream(STARTED, delta("With."), CLOSED)],
    )
    httpserver.expect_request(PATH).respond_with_json(SESSION)
    async with AsyncPlayhead(httpserver.url_for(""), sleep=sleep) as playhead:
        assert [event.id async for event in playhead.sessions.watch(SESSION_ID)] == [3, 4, 5, 6, 7]
        assert streamed_text([event async for event in playhead.sessions.stream(SESSION_ID, "Hello")]) == "With."
    assert pauses == [0.5, 0.5, 0.5]
    httpserver.check_assertions()
