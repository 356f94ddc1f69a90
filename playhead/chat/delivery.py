"""API calls of the chat, retried after connection losses without doing anything twice."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

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

Result = TypeVar("Result")


@dataclass(frozen=True)
class RetryLimits:
    """Limits of retries.

    `unreachable_seconds` is the longest time without any response, `reply_seconds` the longest time for one reply.
    `retry_policy` sets the pauses between retries, `poll_seconds` the pause between two polls of a pending reply.
    """

    unreachable_seconds: float = 60.0
    reply_seconds: float = 600.0
    retry_policy: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(max_retries=None, first_pause=1.0, max_pause=8.0)
    )
    poll_seconds: float = 0.25


@dataclass(frozen=True)
class OutgoingMessage:
    """A message with an id that stays the same in every attempt to send it."""

    text: str
    message_id: str
    expected_revision: int | None


class RetriesExhausted(Exception):
    """There was no response within the limits. The call may have been carried out."""

    def __init__(self, cause: PlayheadError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class RetryingClient:
    """Makes the chat's API calls, and retries them after connection losses.

    The given client must not retry by itself, so that `notify` is called before every wait. Raises APIStatusError for
    errors that a retry cannot fix, RetriesExhausted at the limits, and PlayheadError at once when the API was never
    reachable.
    """

    def __init__(
        self,
        client: Playhead,
        notify: Callable[[str], None],
        *,
        limits: RetryLimits | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._notify = notify
        self._limits = limits or RetryLimits()
        self._pause = pause
        self._clock = clock
        self._reached = False
        self._streams: dict[str, EventStream] = {}
        self._lost_since: float | None = None
        self._failures = 0

    def create(self, agent: str) -> ChatSession:
        """Open a session; all attempts have one idempotency key. Its greeting may still be pending."""
        key = f"chat_{uuid4().hex}"

        def opened() -> ChatSession:
            try:
                return _chat_session(self._client.sessions.open(agent, idempotency_key=key))
            except WaitTimeout as late:
                if late.session_id is None:
                    raise
                self._reached = True
                self._notify(late.detail)
                return _chat_session(self._client.sessions.get(late.session_id))

        return self._with_retries(opened)

    def session(self, session_id: str) -> ChatSession:
        """The session as it is now."""
        return self._with_retries(lambda: _chat_session(self._client.sessions.get(session_id)))

    def agent_of(self, session: ChatSession) -> ChatAgent:
        """The version of the agent that a session is pinned to."""
        stored = self._with_retries(lambda: self._client.agents.get(session.agent_id, session.agent_version))
        nodes = stored.definition.nodes.values()
        tools = frozenset(transition_tool_name(transition.name) for node in nodes for transition in node.transitions)
        return ChatAgent(
            name=stored.name, version=stored.version, model=stored.definition.model, transition_tools=tools
        )

    def send(self, session_id: str, message: OutgoingMessage, on_event: Callable[[Event], None]) -> ChatSession:
        """Send a message, call `on_event` with each event of the reply, and return the session after it.

        Sending the same message again continues its stream. Raises ModelFailed when the turn fails.
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

        def receive() -> None:
            with stream:
                for event in stream:
                    self._connected()
                    on_event(event)
                    if event.type == "turn_failed" and isinstance(event.data, TurnClosed):
                        raise ModelFailed.of(event.data.turn)

        self._with_retries(receive, assurance=" with the same message id, so that nothing is sent twice")
        del self._streams[message.message_id]
        return self.session(session_id)

    def cancel(self, session_id: str) -> None:
        """Stop the reply that is being generated. Raises PlayheadError when that fails."""
        self._client.sessions.cancel(session_id)

    def rewind(self, session_id: str, turn_id: str | None, *, before: bool) -> ChatSession:
        """Rewind. Repeating the call changes nothing."""
        return self._with_retries(
            lambda: _chat_session(self._client.sessions.rewind(session_id, turn_id, before=before))
        )

    def end(self, session_id: str, reason: str | None) -> ChatSession:
        """End the session. Ending an ended session changes nothing."""
        return self._with_retries(lambda: _chat_session(self._client.sessions.end(session_id, reason=reason)))

    def wait_for_reply(self, session: ChatSession) -> ChatSession:
        """Wait until the newest turn is no longer pending, for at most `reply_seconds`; returns the session."""
        until = self._clock() + self._limits.reply_seconds
        while session.is_answering and self._clock() < until:
            self._pause(self._limits.poll_seconds)
            session = self.session(session.id)
        return session

    def _with_retries(self, call: Callable[[], Result], *, assurance: str = "", repeatable: bool = True) -> Result:
        started = self._clock()
        self._lost_since, self._failures = None, 0
        while True:
            try:
                answer = call()
            except PlayheadError as failure:
                if repeatable and isinstance(failure, WaitTimeout):
                    self._keep_waiting(failure, started)
                    self._lost_since, self._failures = None, 0
                    continue
                self._failures += 1
                pause = self._limits.retry_policy.pause_after(failure, self._failures, repeatable=repeatable)
                if pause is None or (isinstance(failure, APIConnectionError) and not self._reached):
                    raise
                self._pause_before_retry(failure, pause, assurance)
            else:
                self._connected()
                return answer

    def _pause_before_retry(self, failure: PlayheadError, pause: float, assurance: str) -> None:
        """Report the failure and pause. Raises RetriesExhausted after `unreachable_seconds` without a response."""
        if self._lost_since is None:
            self._lost_since = self._clock()
            self._notify(f"{_failure_text(failure)} Trying again in {pause:g} s{assurance}.")
        elif self._clock() + pause - self._lost_since > self._limits.unreachable_seconds:
            raise RetriesExhausted(failure) from failure
        else:
            self._notify(f"Still no connection. Trying again in {pause:g} s.")
        self._pause(pause)

    def _connected(self) -> None:
        """Record that the API has responded."""
        self._reached = True
        if self._lost_since is not None:
            self._notify("Connected again.")
        self._lost_since, self._failures = None, 0

    def _keep_waiting(self, late: WaitTimeout, started: float) -> None:
        if self._clock() - started > self._limits.reply_seconds:
            raise RetriesExhausted(late) from late
        who = (
            "The agent is still answering"
            if late.turn
            else "The agent has not started to answer (is a worker running?)"
        )
        self._notify(f"{who}; still waiting.")
        self._pause(self._limits.poll_seconds)


def _chat_session(session: Session) -> ChatSession:
    """Convert a session of the client library."""
    return ChatSession.model_validate(session, from_attributes=True)


def _failure_text(failure: PlayheadError) -> str:
    return str(failure) if _was_not_accepted(failure) else "The connection to the API is lost."


def _was_not_accepted(failure: PlayheadError) -> bool:
    return isinstance(failure, APIStatusError) and failure.nothing_accepted
