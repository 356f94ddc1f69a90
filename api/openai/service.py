"""A request of the chat protocol carried out: its session found or opened, its beliefs checked, its message said."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4
from weakref import WeakValueDictionary

from pydantic import JsonValue, ValidationError

from api.http.problems import Problem
from api.http.sse import StartedStream, start_stream
from api.openai.chunks import complete_stream
from api.openai.errors import ChatError
from api.openai.request_parsing import SYSTEM_MESSAGE, Exchange, RequestedTurn, contradiction, read_request
from api.openai.schemas import ChatRequest
from api.openai.streaming import chunk_stream
from api.schemas.requests import AgentVersion, NewSession
from api.sessions.creation import SessionCreator
from api.sessions.messages import MessageService
from api.sessions.reader import SessionReader
from api.streams.message_stream import MessageStreams
from domain.sessions.commands import SendMessage
from domain.sessions.views import TimelineView
from domain.turns.turn import Turn
from store.agents import AgentStore, StoredAgent
from store.sessions.sessions import StoredSession


@dataclass(frozen=True)
class PreparedMessage:
    """A message that is ready to be said, in its session; without one the agent's greeting is what is asked for."""

    session: StoredSession
    command: SendMessage | None


class ChatCompletions:
    """Turns requests of the chat protocol into messages of sessions."""

    def __init__(
        self,
        messages: MessageService,
        streams: MessageStreams,
        session_creator: SessionCreator,
        session_reader: SessionReader,
        agents: AgentStore,
    ) -> None:
        self._messages = messages
        self._streams = streams
        self._session_creator = session_creator
        self._session_reader = session_reader
        self._agents = agents
        self._creation_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Who repeats a request while it is carried out waits until its session is open."""

    async def prepare(
        self, organization_id: str, request: ChatRequest, *, session_id: str | None, key: str | None
    ) -> PreparedMessage:
        """Find the session of a request, or open one. Nothing is said yet.

        A request that opens a session finds it again when it is repeated with its idempotency `key`.
        Raises ChatError, or Problem when no session is found or made.
        """
        wanted = read_request(request)
        agent = await self.agent(organization_id, request.model)
        if session_id is None:
            session = await self._opened(organization_id, request, wanted, agent, key)
            return PreparedMessage(session, _command(wanted, key, revision=None))
        session = await self._session_reader.session(organization_id, session_id)
        try:
            revision = await self._revision_agreed_on(session, request, wanted, agent, key)
        except ChatError as refused:
            raise refused.about(session.id) from None
        return PreparedMessage(session, _command(wanted, key, revision))

    async def reply(self, ask: PreparedMessage) -> Turn:
        """Say the message and wait for the turn that answers it. Raises ChatError."""
        try:
            if ask.command is None:
                return await self._greeting(ask.session)
            return await self._messages.reply(ask.session, ask.command)
        except Problem as problem:
            raise ChatError.of(problem).about(ask.session.id) from problem

    async def spoken(self, ask: PreparedMessage, *, tells_usage: bool) -> StartedStream:
        """Say the message, and answer with the reply while it is spoken. Raises ChatError before it has begun."""
        try:
            if ask.command is None:
                return await start_stream(
                    complete_stream(ask.session, await self._greeting(ask.session), tells_usage=tells_usage)
                )
            events = self._streams.events(ask.session, ask.command)
            return await start_stream(chunk_stream(ask.session, events, tells_usage=tells_usage))
        except Problem as problem:
            raise ChatError.of(problem).about(ask.session.id) from problem

    async def agent(self, organization_id: str, model: str) -> tuple[StoredAgent, int | None]:
        """The agent that a model's name means, and the version if it names one. Raises ChatError."""
        agent, version = await self._agents.find(organization_id, model), None
        name, at, number = model.rpartition("@")
        if agent is None and at and number.isascii() and number.isdigit():
            version = int(number)
            agent = await self._agents.find(organization_id, name, version)
        if agent is None:
            message = f"There is no agent {model} in this organization. GET /v1/models lists them."
            raise ChatError(404, "model_not_found", message, "model")
        return agent, version

    async def _opened(
        self,
        organization_id: str,
        request: ChatRequest,
        wanted: RequestedTurn,
        agent: tuple[StoredAgent, int | None],
        key: str | None,
    ) -> StoredSession:
        if wanted.believed:
            raise ChatError(
                409,
                "conversation_mismatch",
                "Without a session a new one begins, and nothing was said in it yet. Name the session of this "
                "conversation in metadata.session_id or in the header X-Session-Id.",
                "messages",
            )
        new = _new_session(request, wanted, agent)
        if key is None:
            session, _ = await self._session_creator.open(organization_id, new)
            return session
        session_id = _session_id_for(organization_id, key)
        async with self._creation_locks.setdefault(session_id, asyncio.Lock()):
            try:
                return await self._session_reader.session(organization_id, session_id)
            except Problem as problem:
                if problem.code != "not_found":
                    raise
            session, _ = await self._session_creator.open(organization_id, new, session_id=session_id)
            return session

    async def _revision_agreed_on(
        self,
        session: StoredSession,
        request: ChatRequest,
        wanted: RequestedTurn,
        agent: tuple[StoredAgent, int | None],
        key: str | None,
    ) -> int | None:
        """The revision at which the session is as the client believes; none when it believes nothing in particular."""
        stored, version = agent
        if session.agent_id != stored.id or version not in (None, session.agent_version):
            talks_to = f"{session.agent_name}@{session.agent_version}"
            message = f"The session {session.id} talks to {talks_to}, not to {request.model}."
            raise ChatError(409, "conversation_mismatch", message, "model")
        if wanted.say is None:
            raise ChatError(400, "nothing_to_say", "There is no user message to answer.", "messages")
        if request.initial_context is not None:
            message = "A session's context is given when it is opened, and this one is open."
            raise ChatError(400, "unsupported_parameter", message, "initial_context")
        known = session.initial_context.get(SYSTEM_MESSAGE)
        if wanted.system is not None and known is not None and known != wanted.system:
            message = "The session was opened with another system message, and keeps it."
            raise ChatError(409, "conversation_mismatch", message, "messages")
        if not wanted.believed:
            return None
        view, _ = await self._session_reader.view(session)
        if key is not None and _has_message(view, key):
            return None
        _require_agreement(wanted.believed, view)
        return view.head.revision

    async def _greeting(self, session: StoredSession) -> Turn:
        view, _ = await self._session_reader.view(session)
        if not view.turns:
            raise Problem("wait_timeout", "The agent has not greeted yet.", session_id=session.id)
        greeting = view.turns[0]
        if greeting.status == "failed":
            raise Problem("model_failed", f"{greeting.error or 'The greeting failed.'} The session goes on.")
        return greeting


def _new_session(request: ChatRequest, wanted: RequestedTurn, agent: tuple[StoredAgent, int | None]) -> NewSession:
    """The session that a request opens. Raises ChatError when it brings too much."""
    stored, version = agent
    system = {} if wanted.system is None else {SYSTEM_MESSAGE: wanted.system}
    annotations: dict[str, JsonValue] = {
        name: value for name, value in (request.metadata or {}).items() if name != "session_id"
    }
    try:
        return NewSession(
            agent=AgentVersion(id=stored.id, version=version),
            initial_context={**(request.initial_context or {}), **system},
            annotations=annotations,
        )
    except ValidationError as error:
        message = "The system messages (with initial_context), or the metadata, are too large for a session."
        raise ChatError(413, "too_large", message) from error


def _command(wanted: RequestedTurn, key: str | None, revision: int | None) -> SendMessage | None:
    if wanted.say is None:
        return None
    return SendMessage(text=wanted.say, message_id=key or f"msg_{uuid4().hex}", expected_revision=revision)


def _session_id_for(organization_id: str, key: str) -> str:
    """The id of the session that a request with this key opens, however often it is repeated."""
    return f"ses_{sha256(f'{organization_id} {key}'.encode()).hexdigest()[:24]}"


def _has_message(view: TimelineView, message_id: str) -> bool:
    return any(turn.user_message and turn.user_message.message_id == message_id for turn in view.turns)


def _require_agreement(believed: Sequence[Exchange], view: TimelineView) -> None:
    other = contradiction(believed, _held(view), is_whole=not view.head.turns_before)
    if other is not None:
        raise ChatError(
            409,
            "conversation_mismatch",
            f'The session has had another conversation: it does not hold "{_brief(other.user)}" with the answer '
            f'"{_brief(other.agent)}" in that place. Send the last message alone, or what the session shows.',
            "messages",
        )


def _held(view: TimelineView) -> list[Exchange]:
    """What is seen of a session as exchanges. Nobody can believe in a turn that has no answer."""
    return [
        Exchange(turn.user_message.text, turn.assistant_message.text, partial=turn.status == "interrupted")
        for turn in view.turns
        if turn.user_message and turn.assistant_message and turn.status in ("completed", "interrupted")
    ]


def _brief(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
