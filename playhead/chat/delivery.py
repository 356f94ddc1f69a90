"""Calls that survive a lost connection: each is repeated until it is answered, and none of them does a thing twice."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from domain.agents.graph_validation import transition_tool_name
from playhead.chat.session_view import ChatAgent, ChatSession
from playhead_client import (
    APIConnectionError,
    APIStatusError,
    Event,
    EventStream,
    ModelFailed,
    Playhead,
    PlayheadError,
    RetryPolicy,
    Session,
    TurnClosed,
    WaitTimeout,
)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Patience:
    """Time limits of the retries, in seconds.

    `unreachable` is the longest time without any response, `answering` the longest time for one reply. `retries` is
    the policy for the pauses in between; `glance` is the pause between two looks at a pending reply.
    """

    unreachable: float = 60.0
    answering: float = 600.0
    retries: RetryPolicy = field(default_factory=lambda: RetryPolicy(max_retries=None, first_pause=1.0, max_pause=8.0))
    glance: float = 0.25


@dataclass(frozen=True)
class Outgoing:
    """A message with the id that is its own through every attempt to say it."""

    text: str
    message_id: str
    expected_revision: int | None


class GaveUp(Exception):
    """No answer came for as long as patience lasts; whether the call was carried out is not known."""

    def __init__(self, cause: PlayheadError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class RetryingClient:
    """Carries the chat's calls to the API and repeats them when the way is lost.

    The client must not repeat calls itself: `tell` is told whenever there is something to wait for. Raises
    APIStatusError for what repeating does not cure, GaveUp when patience ends, and PlayheadError at once when the API
    was never there.
    """

    def __init__(
        self,
        client: Playhead,
        tell: Callable[[str], None],
        *,
        patience: Patience | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._tell = tell
        self._patience = patience or Patience()
        self._pause = pause
        self._clock = clock
        self._reached = False
        self._streams: dict[str, EventStream] = {}
        self._lost_since: float | None = None
        self._failures = 0

    def create(self, agent: str) -> ChatSession:
        """Open a session; its greeting may still be to come.

        Repeated only after answers that say nothing was accepted, for opening has no message id.
        """
        try:
            return self._persistently(lambda: _seen(self._client.sessions.open(agent)), repeatable=False)
        except WaitTimeout as late:
            if late.session_id is None:
                raise
            self._reached = True
            self._tell(late.detail)
            return self.session(late.session_id)

    def session(self, session_id: str) -> ChatSession:
        """The session as it is now."""
        return self._persistently(lambda: _seen(self._client.sessions.get(session_id)))

    def agent_of(self, session: ChatSession) -> ChatAgent:
        """The version of the agent that a session is pinned to."""
        stored = self._persistently(lambda: self._client.agents.get(session.agent_id, session.agent_version))
        nodes = stored.definition.nodes.values()
        moves = frozenset(transition_tool_name(transition.name) for node in nodes for transition in node.transitions)
        return ChatAgent(name=stored.name, version=stored.version, model=stored.definition.model, moves=moves)

    def send(self, session_id: str, message: Outgoing, hear: Callable[[Event], None]) -> ChatSession:
        """Say something, let the reply be heard while it is spoken, and return the session after it.

        Sent again, the same message goes on being heard where it was. Raises ModelFailed when the turn fails.
        """
        stream = self._streams.setdefault(
            message.message_id,
            self._client.sessions.stream(
                session_id,
                message.text,
                message_id=message.message_id,
                expected_revision=message.expected_revision,
            ),
        )

        def listen() -> None:
            with stream:
                for event in stream:
                    self._heard_from()
                    hear(event)
                    if event.type == "turn_failed" and isinstance(event.data, TurnClosed):
                        raise ModelFailed.of(event.data.turn)

        self._persistently(listen, assurance=" with the same message id, so that nothing is said twice")
        del self._streams[message.message_id]
        return self.session(session_id)

    def cancel(self, session_id: str) -> None:
        """Stop the reply that is being generated. Raises PlayheadError when it could not be stopped."""
        self._client.sessions.cancel(session_id)

    def rewind(self, session_id: str, turn_id: str | None, *, before: bool) -> ChatSession:
        """Rewind; doing so again changes nothing more."""
        return self._persistently(lambda: _seen(self._client.sessions.rewind(session_id, turn_id, before=before)))

    def end(self, session_id: str, reason: str | None) -> ChatSession:
        """End the session; ending an ended session changes nothing."""
        return self._persistently(lambda: _seen(self._client.sessions.end(session_id, reason=reason)))

    def once_answered(self, session: ChatSession) -> ChatSession:
        """The session once its newest turn is no longer pending, or as it is when patience ends."""
        until = self._clock() + self._patience.answering
        while session.is_answering and self._clock() < until:
            self._pause(self._patience.glance)
            session = self.session(session.id)
        return session

    def _persistently(self, call: Callable[[], Answer], *, assurance: str = "", repeatable: bool = True) -> Answer:
        started = self._clock()
        self._lost_since, self._failures = None, 0
        while True:
            try:
                answer = call()
            except PlayheadError as failure:
                if repeatable and isinstance(failure, WaitTimeout):
                    self._wait_on(failure, started)
                    self._lost_since, self._failures = None, 0
                    continue
                self._failures += 1
                pause = self._patience.retries.pause_after(failure, self._failures, repeatable=repeatable)
                if pause is None or (isinstance(failure, APIConnectionError) and not self._reached):
                    raise
                self._try_again(failure, pause, assurance)
            else:
                self._heard_from()
                return answer

    def _try_again(self, failure: PlayheadError, pause: float, assurance: str) -> None:
        """Report the failure, and pause. Raises GaveUp when nothing has answered for too long."""
        if self._lost_since is None:
            self._lost_since = self._clock()
            self._tell(f"{_what_is_lost(failure)} Trying again in {pause:g} s{assurance}.")
        elif self._clock() + pause - self._lost_since > self._patience.unreachable:
            raise GaveUp(failure) from failure
        else:
            self._tell(f"Not yet. Trying again in {pause:g} s.")
        self._pause(pause)

    def _heard_from(self) -> None:
        """The API has answered, or has begun to."""
        self._reached = True
        if self._lost_since is not None:
            self._tell("Connected again.")
        self._lost_since, self._failures = None, 0

    def _wait_on(self, late: WaitTimeout, started: float) -> None:
        if self._clock() - started > self._patience.answering:
            raise GaveUp(late) from late
        who = (
            "The agent is still answering" if late.turn else "The agent has not begun to answer (is a worker running?)"
        )
        self._tell(f"{who}; waiting on.")
        self._pause(self._patience.glance)


def _seen(session: Session) -> ChatSession:
    """The session as the chat holds it."""
    return ChatSession.model_validate(session, from_attributes=True)


def _what_is_lost(failure: PlayheadError) -> str:
    return str(failure) if _was_not_accepted(failure) else "The connection to the API is lost."


def _was_not_accepted(failure: PlayheadError) -> bool:
    return isinstance(failure, APIStatusError) and failure.nothing_accepted
