"""Chat completions over sessions: finds or creates the session, checks the client's history, sends the message."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4

from pydantic import JsonValue, ValidationError

from api.http.problems import Problem
from api.http.sse import StartedStream, start_stream
from api.openai.chunks import complete_stream
from api.openai.errors import ChatError
from api.openai.reply_options import ReplyOptionsReader, require_kept
from api.openai.request_parsing import Exchange, RequestedTurn, first_mismatch, read_request
from api.openai.schemas import ChatRequest
from api.openai.streaming import chunk_stream
from api.schemas.requests import AgentVersion, NewSession
from api.sessions.creation import SessionCreator
from api.sessions.messages import MessageService
from api.sessions.reader import SessionReader
from api.streams.message_stream import MessageStreams
from domain.agents.definition import SYSTEM_MESSAGE
from domain.sessions.commands import SendMessage
from domain.sessions.views import TimelineView
from domain.suites.validation import MAX_VERSION_DIGITS
from domain.turns.turn import ReplyOptions, Turn
from store.agents import AgentStore, StoredAgent
from store.sessions.sessions import StoredSession


@dataclass(frozen=True)
class PreparedCompletion:
    """A session and the message to send to it; without a message the reply is the agent's greeting."""

    session: StoredSession
    command: SendMessage | None


class ChatCompletions:
    """Answers chat completion requests with turns of sessions."""

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
        self._reply_options = ReplyOptionsReader(session_reader, agents)

    async def prepare(
        self, organization_id: str, request: ChatRequest, *, session_id: str | None, key: str | None
    ) -> PreparedCompletion:
        """Find the session of a request, or create one. Nothing is sent yet.

        A request that created a session finds it again when it is repeated with its idempotency `key`.
        Raises ChatError, or Problem when no session is found or created.
        """
        requested = read_request(request)
        agent = await self.agent(organization_id, request.model)
        if session_id is None:
            own_id = None if key is None else _session_id_for(organization_id, key)
            session = await self._create_session(organization_id, request, requested, agent, own_id)
            return PreparedCompletion(session, _first_command(requested, key))
        own_id = _session_id_of_client(organization_id, session_id)
        known = await self._named_session(organization_id, session_id)
        if known is None:
            session = await self._create_session(organization_id, request, requested, agent, own_id)
            return PreparedCompletion(session, _first_command(requested, key))
        if known.id == own_id and known.recorded_at is None:
            # An earlier request may have stored the session and not started it.
            known = await self._session_creator.create_once(
                organization_id, _new_session(request, requested, agent), own_id
            )
        try:
            revision = await self._checked_revision(known, request, requested, agent, key)
            options = await self._reply_options.options(
                known, reply_format=requested.reply_format, system=requested.system
            )
        except ChatError as error:
            raise error.about(known.id) from None
        return PreparedCompletion(known, _command(requested, key, revision, options))

    async def reply(self, prepared: PreparedCompletion) -> Turn:
        """Send the message and wait for the turn that answers it. Raises ChatError."""
        try:
            if prepared.command is None:
                return await self._greeting(prepared.session)
            return await self._messages.reply(prepared.session, prepared.command)
        except Problem as problem:
            raise ChatError.of(problem).about(prepared.session.id) from problem

    async def stream(self, prepared: PreparedCompletion, *, include_usage: bool) -> StartedStream:
        """Send the message and stream the reply. Raises ChatError for an error before the first event."""
        try:
            if prepared.command is None:
                return await start_stream(
                    complete_stream(
                        prepared.session, await self._greeting(prepared.session), include_usage=include_usage
                    )
                )
            events = self._streams.events(prepared.session, prepared.command)
            return await start_stream(chunk_stream(prepared.session, events, include_usage=include_usage))
        except Problem as problem:
            raise ChatError.of(problem).about(prepared.session.id) from problem

    async def agent(self, organization_id: str, model: str) -> tuple[StoredAgent, int | None]:
        """The agent that a model name stands for, and the version if the name has one. Raises ChatError."""
        agent, version = await self._agents.find(organization_id, model), None
        name, at, number = model.rpartition("@")
        if agent is None and at and number.isascii() and number.isdigit() and len(number) <= MAX_VERSION_DIGITS:
            version = int(number)
            agent = await self._agents.find(organization_id, name, version)
        if agent is None:
            message = f"There is no agent {model} in this organization. GET /v1/models lists them."
            raise ChatError(404, "model_not_found", message, "model")
        return agent, version

    async def _named_session(self, organization_id: str, name: str) -> StoredSession | None:
        """The session with an id of Playhead's or of the client's; None when the client's id is new.

        Raises Problem when an id in Playhead's own form is unknown.
        """
        try:
            return await self._session_reader.session(organization_id, name)
        except Problem as problem:
            if problem.code != "not_found" or name.startswith("ses_"):
                raise
        try:
            return await self._session_reader.session(organization_id, _session_id_of_client(organization_id, name))
        except Problem as problem:
            if problem.code != "not_found":
                raise
        return None

    async def _create_session(
        self,
        organization_id: str,
        request: ChatRequest,
        requested: RequestedTurn,
        agent: tuple[StoredAgent, int | None],
        session_id: str | None,
    ) -> StoredSession:
        if requested.history:
            raise ChatError(
                400,
                "conversation_mismatch",
                "The request names no session that exists, so a new one would be created, which has no earlier "
                "messages. Name the session of this conversation in metadata.session_id or in the header X-Session-Id.",
                "messages",
            )
        definition = agent[0].definition
        require_kept(requested.reply_format, definition, definition.start)
        new = _new_session(request, requested, agent)
        if session_id is None:
            session, _ = await self._session_creator.create(organization_id, new)
            return session
        return await self._session_creator.create_once(organization_id, new, session_id)

    async def _checked_revision(
        self,
        session: StoredSession,
        request: ChatRequest,
        requested: RequestedTurn,
        agent: tuple[StoredAgent, int | None],
        key: str | None,
    ) -> int | None:
        """The revision at which the session agrees with the client's history; None for a request without one."""
        stored, version = agent
        if session.agent_id != stored.id or version not in (None, session.agent_version):
            pinned = f"{session.agent_name}@{session.agent_version}"
            message = f"The session {session.id} uses {pinned}, not {request.model}."
            raise ChatError(400, "conversation_mismatch", message, "model")
        if request.initial_context is not None and request.initial_context != _context_of(session):
            message = "initial_context can only be set when a session is created: this session has another one."
            raise ChatError(400, "unsupported_parameter", message, "initial_context")
        if requested.text is None:
            await self._require_nothing_said(session)
        if not requested.history:
            return None
        view, _ = await self._session_reader.view(session)
        if key is not None and _has_message(view, key):
            return None
        _require_same_history(requested.history, view)
        return view.head.revision

    async def _require_nothing_said(self, session: StoredSession) -> None:
        """Raise ChatError for a request for the greeting of a session whose conversation has begun."""
        view, _ = await self._session_reader.view(session)
        if any(turn.user_message for turn in view.turns):
            raise ChatError(400, "nothing_to_say", "The request has no user message to answer.", "messages")

    async def _greeting(self, session: StoredSession) -> Turn:
        view, _ = await self._session_reader.view(session)
        if not view.turns:
            raise Problem("wait_timeout", "The agent has not sent its greeting yet.", session_id=session.id)
        greeting = view.turns[0]
        if greeting.status == "failed":
            raise Problem("model_failed", f"{greeting.error or 'The greeting failed.'} The session goes on.")
        return greeting


def _new_session(request: ChatRequest, requested: RequestedTurn, agent: tuple[StoredAgent, int | None]) -> NewSession:
    """The session to create for a request. Raises ChatError when its values are too large."""
    stored, version = agent
    system = {} if requested.system is None else {SYSTEM_MESSAGE: requested.system}
    try:
        return NewSession(
            agent=AgentVersion(id=stored.id, version=version),
            initial_context={**(request.initial_context or {}), **system},
            annotations=request.annotations,
        )
    except ValidationError as error:
        message = "The system messages (with initial_context), or the metadata, are too large for a session."
        raise ChatError(413, "too_large", message) from error


def _command(
    requested: RequestedTurn, key: str | None, revision: int | None, options: ReplyOptions | None
) -> SendMessage | None:
    if requested.text is None:
        return None
    message_id = key or f"msg_{uuid4().hex}"
    return SendMessage(text=requested.text, message_id=message_id, expected_revision=revision, options=options)


def _first_command(requested: RequestedTurn, key: str | None) -> SendMessage | None:
    """The first message of a session that was created with the system messages of the request."""
    options = ReplyOptions(reply_format=requested.reply_format) if requested.reply_format else None
    return _command(requested, key, None, options)


def _session_id_for(organization_id: str, key: str) -> str:
    """The id of the session that a request with this key creates, the same for each repeat."""
    return f"ses_{sha256(f'{organization_id} {key}'.encode()).hexdigest()[:24]}"


def _session_id_of_client(organization_id: str, name: str) -> str:
    """The id of the session that a client calls by a name of its own; no two organizations share one."""
    address = f"client-id\n{organization_id}\n{name}"
    return f"ses_{sha256(address.encode()).hexdigest()[:24]}"


def _context_of(session: StoredSession) -> dict[str, JsonValue]:
    """The initial context of a session without the system messages of the client."""
    return {name: value for name, value in session.initial_context.items() if name != SYSTEM_MESSAGE}


def _has_message(view: TimelineView, message_id: str) -> bool:
    return any(turn.user_message and turn.user_message.message_id == message_id for turn in view.turns)


def _require_same_history(history: Sequence[Exchange], view: TimelineView) -> None:
    other = first_mismatch(history, _exchanges(view), is_complete=not view.head.turns_before)
    if other is not None:
        raise ChatError(
            400,
            "conversation_mismatch",
            f'The messages differ from the session: it does not have "{_shortened(other.user)}" with the reply '
            f'"{_shortened(other.agent)}" at that position. Send the last message alone, or those of the session.',
            "messages",
        )


def _exchanges(view: TimelineView) -> list[Exchange]:
    """The visible turns with a reply as exchanges; a client cannot know of a turn without one."""
    return [
        Exchange(turn.user_message.text, turn.assistant_message.text, partial=turn.status == "interrupted")
        for turn in view.turns
        if turn.user_message and turn.assistant_message and turn.status in ("completed", "interrupted")
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
