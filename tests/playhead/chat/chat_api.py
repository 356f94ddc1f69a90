"""A fake API for tests of the chat: real HTTP, the real rules of a session, scripted replies and faults."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from api.schemas.examples import AGENT, SESSION
from domain.rejections import CommandRejected
from domain.sessions.timeline import DiscardedBranch
from domain.sessions.turn_completion import complete
from domain.turns.turn import Turn, TurnEvent
from domain.usage import merge_costs
from playhead.chat.app import converse
from playhead.chat.delivery import RetryingClient, RetryLimits
from playhead.chat.input import Reader
from playhead.chat.json_output import JsonScreen
from playhead.chat.session_view import ChatSession
from playhead.chat.text_output import PlainScreen, Screen
from playhead_client import NO_RETRIES, Playhead
from tests.support.conversation import MODEL, Conversation, answered

SESSION_ID = "ses_1"
HALF = "We have a table"
"""Text of a stopped reply."""
PATIENCE = 30.0
"""Seconds after which an unstopped reply breaks off."""
STATUSES = {
    "idempotency_mismatch": 409,
    "revision_conflict": 409,
    "session_ended": 410,
    "too_large": 413,
    "turn_in_progress": 409,
    "turn_not_found": 404,
    "validation_error": 422,
}

Body = dict[str, Any]  # Any: it is JSON
Fault = Callable[[Request, Callable[[], Response]], Response]
"""Stands between a request and its answer; the second argument carries the request out."""
Reply = Callable[[Conversation, str], None]
"""Closes the turn with this id, or leaves it pending."""


class FakeApi:
    """One agent, `booking-line`, and one session with it.

    `faults` apply to messages and rewinds, `opening_faults` to the opening, `replies` answer messages, and `looks` are
    applied to the pending turn whenever the session is read. `messages` and `rewinds` are the bodies of the requests,
    and `cancelled` is set once a reply is stopped.
    """

    def __init__(self, server: HTTPServer, *, model: str | None = None) -> None:
        self.url = server.url_for("")
        self.conversation = Conversation()
        self.messages: list[Body] = []
        self.rewinds: list[Body] = []
        self.opening_faults: deque[Fault] = deque()
        self.faults: deque[Fault] = deque()
        self.replies: deque[Reply] = deque()
        self.looks: deque[Reply] = deque()
        self.cancelled = threading.Event()
        self._model = model
        session = f"/v1/sessions/{SESSION_ID}"
        server.expect_request("/v1/sessions", method="POST").respond_with_handler(self._create)
        server.expect_request(session, method="GET").respond_with_handler(self._look)
        server.expect_request(f"{session}/messages", method="POST").respond_with_handler(self._send)
        server.expect_request(f"{session}/rewind", method="POST").respond_with_handler(self._rewind)
        server.expect_request(f"{session}/end", method="POST").respond_with_handler(self._end)
        server.expect_request(f"{session}/cancel", method="POST").respond_with_handler(self._cancel)
        server.expect_request("/v1/agents/agt_1/versions/3").respond_with_handler(self._agent)
        server.expect_request("/v1/sessions/ses_unknown").respond_with_handler(
            lambda _: problem(404, "not_found", "No such session.")
        )

    @property
    def said(self) -> list[str]:
        """The users' messages on the visible branch."""
        turns = list(self.conversation.timeline.visible_turns())[::-1]
        return [turn.user_message.text for turn in turns if turn.user_message]

    def _create(self, request: Request) -> Response:
        return self._faulty(self.opening_faults, request, lambda: self._greet(request))

    def _greet(self, request: Request) -> Response:
        if request.get_json()["agent"] != "booking-line":
            return problem(404, "not_found", "There is no agent of this name in this organization.")
        self.conversation.greeted("Good evening.")
        return self.session()

    def _look(self, request: Request) -> Response:
        if self.looks:
            pending = self.conversation.timeline.pending
            self.looks.popleft()(self.conversation, pending[0] if pending else "")
        return self.session()

    def _send(self, request: Request) -> Response:
        self.messages.append(request.get_json())
        return self._faulty(self.faults, request, lambda: self._answer(self.messages[-1]))

    def _answer(self, body: Body) -> Response:
        turn_id = self.conversation.say(body["text"], **{name: body[name] for name in body if name != "text"})
        timeline = self.conversation.timeline
        if turn_id in timeline.turns:
            reply = self.replies.popleft() if self.replies else says(f"You said {body['text']}")
            reply(self.conversation, turn_id)
        known = timeline.remembered_message(body["message_id"])
        turn = self.conversation.timeline.turns[known.turn_id if known else turn_id]
        if turn.status == "failed":
            return problem(502, "model_failed", f"{turn.error} The session goes on.", turn=shown(turn))
        return Response("".join(events_of(turn)), content_type="text/event-stream")

    def _rewind(self, request: Request) -> Response:
        body = request.get_json()
        self.rewinds.append(body)
        return self._faulty(self.faults, request, lambda: self._apply(lambda: self.conversation.rewind(**body)))

    def _cancel(self, request: Request) -> Response:
        if not self.conversation.timeline.pending:
            return problem(409, "turn_not_pending", "No reply is pending: there is nothing to cancel.")
        self.conversation.interrupt(HALF)
        self.cancelled.set()
        return self.session()

    def _end(self, request: Request) -> Response:
        return self._apply(lambda: self.conversation.end(**request.get_json()))

    def _apply(self, command: Callable[[], None]) -> Response:
        command()
        return self.session()

    def _faulty(self, faults: deque[Fault], request: Request, carry_out: Callable[[], Response]) -> Response:
        fault = faults.popleft() if faults else carried_out
        try:
            return fault(request, carry_out)
        except CommandRejected as rejected:
            rejection = rejected.rejection
            return problem(STATUSES[rejection.code], rejection.code, rejection.detail, **rejection.figures)

    def _agent(self, request: Request) -> Response:
        definition = {**AGENT["definition"], "model": self._model}
        return Response(json.dumps({**AGENT, "id": "agt_1", "version": 3, "definition": definition}))

    def session(self) -> Response:
        """The session as the API shows it."""
        timeline = self.conversation.timeline
        turns = list(timeline.visible_turns())[::-1]
        branches = [discarded(branch, timeline.turns_of(branch)) for branch in timeline.discarded_branches]
        return Response(
            json.dumps(
                {
                    **SESSION,
                    "id": SESSION_ID,
                    "agent_id": "agt_1",
                    "agent_version": 3,
                    "name": "WR-TEXT-1",
                    "status": timeline.status,
                    "revision": timeline.revision,
                    "cursor_turn_id": timeline.cursor.turn_id if timeline.cursor else None,
                    "model": self._model or "openai:unnamed",
                    "current_node_id": (turns[-1].node_id if turns else None) or "greet",
                    "is_completed": timeline.is_completed,
                    "completion_reason": timeline.completion_reason,
                    "usage": timeline.usage.model_dump(mode="json"),
                    "cost": {**SESSION["cost"], **timeline.cost.model_dump(mode="json")},
                    "turns": [shown(turn) for turn in turns],
                    "discarded_branches": branches,
                }
            )
        )


def shown(turn: Turn) -> Body:
    """A turn as the API shows it."""
    return turn.model_dump(mode="json", exclude={"checkpoint"})


def discarded(branch: DiscardedBranch, turns: Sequence[Turn]) -> Body:
    """A discarded branch as the API shows it."""
    return {
        **branch.model_dump(mode="json", exclude={"leaf_turn_id"}),
        "turns": [shown(turn) for turn in turns],
        "turn_count": len(turns),
        "head_turn_id": turns[0].id if turns else None,
        "cost": {**SESSION["cost"], **merge_costs(turn.cost for turn in turns).model_dump(mode="json")},
    }


def events_of(turn: Turn) -> Iterator[str]:
    """The events of a turn as the API sends them; the reply comes in two pieces."""
    about = {"turn_id": turn.id, "created_at": turn.created_at.isoformat()}
    text = turn.assistant_message.text if turn.assistant_message else ""
    yield event("turn_started", {**about, **shown(turn)})
    for happened in turn.events:
        yield event(happened.type, {**happened.payload, **about})
    for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
        if piece:
            yield event("reply_delta", {"turn_id": turn.id, "text": piece})
    yield event(f"turn_{turn.status}", {**about, "turn": shown(turn)})


def event(kind: str, data: Body) -> str:
    """One event on the wire."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def problem(status: int, code: str, detail: str, **figures: object) -> Response:
    """An error of the API."""
    body = {"status": status, "code": code, "title": code, "detail": detail, **figures}
    return Response(json.dumps(body), status=status, content_type="application/problem+json")


def says(text: str, *, node: str = "greet", left: str | None = None, ends: bool = False, model: str = MODEL) -> Reply:
    """An answer of the agent, with a transition event if it `left` another node for it."""

    def reply(conversation: Conversation, turn_id: str) -> None:
        at = conversation.tick()
        moved = TurnEvent(type="node_transition", created_at=at, payload={"from_node": left, "to_node": node})
        progress = answered(
            turn_id, text, node_id=node, events=(moved,) if left else (), outcome="ended" if ends else "answered"
        )
        usage = progress.usage.model_copy(update={"llm": {model: progress.usage.llm[MODEL]}})
        progress = progress.model_copy(update={"usage": usage})
        conversation.timeline = complete(conversation.timeline, progress, conversation.limits, at=at)

    return reply


def streams_until_stopped(api: "FakeApi") -> Fault:
    """A reply that streams its first words and continues until it is stopped."""

    def fault(request: Request, carry_out: Callable[[], Response]) -> Response:
        body = request.get_json()
        turn_id = api.conversation.say(body["text"], message_id=body["message_id"])

        def pieces() -> Iterator[str]:
            yield next(events_of(api.conversation.timeline.turns[turn_id]))
            yield event("reply_delta", {"turn_id": turn_id, "text": HALF})
            assert api.cancelled.wait(PATIENCE), "the reply was not stopped"
            yield from list(events_of(api.conversation.timeline.turns[turn_id]))[1:]

        return Response(pieces(), content_type="text/event-stream")

    return fault


def fails_while_streaming(api: "FakeApi", error: str) -> Fault:
    """A turn that fails after its reply started streaming."""

    def fault(request: Request, carry_out: Callable[[], Response]) -> Response:
        body = request.get_json()
        turn_id = api.conversation.say(body["text"], message_id=body["message_id"])
        api.conversation.fail(error, turn_id=turn_id)
        return Response("".join(events_of(api.conversation.timeline.turns[turn_id])), content_type="text/event-stream")

    return fault


def fails(error: str) -> Reply:
    """The model cannot answer."""
    return lambda conversation, turn_id: conversation.fail(error, turn_id=turn_id)


def greets(text: str) -> Reply:
    """The agent opens the conversation at last."""

    def reply(conversation: Conversation, turn_id: str) -> None:
        conversation.greeted(text)

    return reply


def pends(conversation: Conversation, turn_id: str) -> None:
    """The reply is not there yet."""


def carried_out(request: Request, carry_out: Callable[[], Response]) -> Response:
    """No fault."""
    return carry_out()


def answers(status: int, code: str, detail: str = "It does not work just now.") -> Fault:
    """An error before anything was accepted."""
    return lambda request, carry_out: problem(status, code, detail)


def greets_late(request: Request, carry_out: Callable[[], Response]) -> Response:
    """The session is opened, and the wait ends before it has greeted."""
    return problem(504, "wait_timeout", "The agent has not greeted; is a worker running?", session_id=SESSION_ID)


def broken_gateway(request: Request, carry_out: Callable[[], Response]) -> Response:
    """A proxy's own error page."""
    return Response("<html>bad gateway</html>", status=502)


def waits_too_long(request: Request, carry_out: Callable[[], Response]) -> Response:
    """The message is accepted, and the wait ends before the reply is there."""
    carry_out()
    return problem(504, "wait_timeout", "The agent has not answered within 60 seconds.")


def drops_before(request: Request, carry_out: Callable[[], Response]) -> Response:
    """The connection is lost before the message arrives."""
    _hang_up(request)
    return Response()


def drops_after(request: Request, carry_out: Callable[[], Response]) -> Response:
    """The message is carried out, and the connection is lost with the answer."""
    carry_out()
    _hang_up(request)
    return Response()


def interrupted_by(conversation_change: Callable[[], object]) -> Fault:
    """Somebody else is faster: this happens just before the message arrives."""

    def fault(request: Request, carry_out: Callable[[], Response]) -> Response:
        conversation_change()
        return carry_out()

    return fault


def _hang_up(request: Request) -> None:
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)


class Typist:
    """Types these lines, then leaves with Ctrl-D. Keeps what was offered again, and the questions."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = deque(lines)
        self.offered: list[str] = []
        self.questions: list[str] = []

    def read(self, session: ChatSession, unsent: str) -> str | None:
        self.offered.append(unsent)
        return self._lines.popleft() if self._lines else None

    def ask(self, question: str) -> str | None:
        self.questions.append(question)
        return self._lines.popleft() if self._lines else None


class Clock:
    """Time that passes only by pausing. `interrupted` is a Ctrl-C in the next pause."""

    def __init__(self) -> None:
        self.now = 0.0
        self.interrupted = False
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt
        self.pauses.append(seconds)
        self.now += seconds


class Talk:
    """One run of the chat against the fake API, with everything it wrote."""

    def __init__(self, api: FakeApi, *lines: str, json: bool = False, at_terminal: bool = False) -> None:
        self.typist = Typist(lines)
        self.clock = Clock()
        self.out = StringIO()
        self.notes = StringIO()
        self._api = api
        self._json = json
        self._at_terminal = at_terminal

    def run(self, agent: str | None = "booking-line", session_id: str | None = None) -> int:
        """Chat until the end; returns the exit status."""
        screen: Screen = (JsonScreen if self._json else PlainScreen)(self.out, self.notes)
        reader: Reader = self.typist
        with Playhead(self._api.url, retries=NO_RETRIES) as client:
            retrying = RetryingClient(
                client, screen.note, limits=RetryLimits(), pause=self.clock.pause, clock=self.clock
            )
            return converse(retrying, screen, reader, agent, session_id, at_terminal=self._at_terminal)

    @property
    def text(self) -> str:
        return self.out.getvalue()

    @property
    def remarks(self) -> str:
        return self.notes.getvalue()

    @property
    def lines(self) -> list[Body]:
        """The lines of a chat with `--json`."""
        return [json.loads(line) for line in self.text.splitlines()]
