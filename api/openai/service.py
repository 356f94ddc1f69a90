"""Chat completions over sessions: finds or creates the session, finds the place in it, sends the message there."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Final, Protocol, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from api.http.problems import Problem, problem_of
from api.http.sse import StartedStream, start_stream
from api.openai.client_tools import client_tools_among, taken_parameters
from api.openai.completions import NOTHING_USED, Completion
from api.openai.conversations import (
    MESSAGE_SEPARATOR,
    AskedTurn,
    Conversation,
    Conversations,
    Place,
    context_of,
    waits_for_client,
)
from api.openai.errors import ChatError
from api.openai.function_calls import FunctionResult, call_of
from api.openai.reply_options import ReplyOptionsReader, require_kept
from api.openai.request_parsing import RequestedTurn, read_request
from api.openai.schemas import ChatRequest
from api.openai.session_names import SessionName, session_id_of_client
from api.openai.stopping import ReplyStopper
from api.schemas.events import TurnClosed
from api.schemas.requests import AgentVersion, NewSession
from api.schemas.responses import Turn as TurnResponse
from api.sessions.creation import SessionCreator, new_session_id
from api.sessions.messages import MessageService, failure_of
from api.sessions.reader import SessionReader
from api.streams.event_log import StreamEvent
from api.streams.message_stream import MessageStreams
from domain.agents.definition import SYSTEM_MESSAGE
from domain.rejections import CommandRejected
from domain.sessions.client_calls import CallPlace
from domain.sessions.commands import ClientResult, ReturnResults, SendMessage
from domain.sessions.imported_history import import_history
from domain.sessions.timeline import Timeline
from domain.suites.validation import MAX_VERSION_DIGITS
from domain.turns.turn import ReplyOptions, Turn
from domain.usage import Usage
from store.agents import AgentStore, StoredAgent
from store.database.errors import StoreUnavailable
from store.sessions.chat_addresses import ChatAddressStore
from store.sessions.sessions import StoredSession

_Sent = TypeVar("_Sent")

MAX_ATTEMPTS: Final = 5
"""Attempts to find the place of a conversation that other requests change at the same time."""
_MAYBE_ACCEPTED: Final = frozenset({"wait_timeout", "unavailable", "model_failed", "superseded"})
"""Codes of problems after which the message may have a turn nevertheless."""


@dataclass(frozen=True)
class PreparedCompletion:
    """A session and what is sent to it: a message, or the results of client tools. Without either the reply is the
    agent's greeting.

    `is_whole` is true when the conversation begins with the first message of the session, `is_repeatable` when the
    request has an idempotency key. `again` prepares anew when the session was changed meanwhile. `turn` is the one that
    the results continue. `taken` has the parameter with the tools of the request, if all of them are client tools
    of the agent. With `has_older_form` calls are given as a `function_call`.
    """

    session: StoredSession
    command: SendMessage | None
    conversation: Conversation
    is_whole: bool = False
    is_repeatable: bool = False
    again: Callable[[], Awaitable["PreparedCompletion"]] | None = None
    results: ReturnResults | None = None
    turn: Turn | None = None
    taken: frozenset[str] = frozenset()
    has_older_form: bool = False

    @property
    def message_id(self) -> str | None:
        """The id of the message that is answered."""
        if self.command is not None:
            return self.command.message_id
        return self.turn.user_message.message_id if self.turn and self.turn.user_message else None


@dataclass(frozen=True)
class CompletionStream:
    """A session and the stream of its reply."""

    session: StoredSession
    events: StartedStream


class StreamForm(Protocol):
    """Encodes the events of a reply in one of OpenAI's protocols."""

    def whole(self, session: StoredSession, turn: Turn) -> AsyncGenerator[bytes]:
        """The stream of a reply that is already complete."""
        ...

    def streamed(
        self,
        session: StoredSession,
        events: AsyncGenerator[StreamEvent | None],
        *,
        said: int = 0,
        used: Usage = NOTHING_USED,
    ) -> AsyncGenerator[bytes]:
        """The stream of the reply whose events are given; a keepalive is sent for None.

        The client has the first `said` characters of the reply, and `used` is the usage of the turn up to there.
        """
        ...


class ChatCompletions:
    """Answers chat completion requests with turns of sessions."""

    def __init__(
        self,
        messages: MessageService,
        streams: MessageStreams,
        session_creator: SessionCreator,
        session_reader: SessionReader,
        agents: AgentStore,
        *,
        conversations: Conversations,
        addresses: ChatAddressStore,
        stopper: ReplyStopper,
    ) -> None:
        self._messages = messages
        self._streams = streams
        self._session_creator = session_creator
        self._session_reader = session_reader
        self._agents = agents
        self._reply_options = ReplyOptionsReader(session_reader, agents)
        self._conversations = conversations
        self._addresses = addresses
        self._stopper = stopper

    async def prepare(
        self, organization_id: str, request: ChatRequest, *, name: SessionName | None, key: str | None
    ) -> PreparedCompletion:
        """Find the session of a request and the place in it, or create a session. Nothing is sent yet.

        A request that created a session finds it again when it is repeated with its idempotency `key`.
        Raises ChatError, or Problem when no session is found or created.
        """
        requested = read_request(request)
        agent = await self.agent(organization_id, request.model)
        conversation = Conversation(agent[0].id, request.annotations, requested.spoken, requested.system)
        return await self._prepared(_Preparation(organization_id, request, requested, agent, conversation, name, key))

    async def reply(self, prepared: PreparedCompletion) -> Completion:
        """Send the message and wait for the turn that answers it. Raises ChatError."""

        async def send(prepared: PreparedCompletion) -> Completion:
            session = prepared.session
            if prepared.results is not None:
                answer, result = await self._messages.return_results(session, prepared.results)
                completion = Completion(session, answer.turn, answer.calls, result.said, result.used)
            elif prepared.command is not None:
                answer = await self._messages.reply_or_calls(session, prepared.command)
                completion = Completion(session, answer.turn, answer.calls)
            else:
                return Completion(session, await self._greeting(prepared))
            if completion.turn.status == "failed":
                raise failure_of(completion.turn)
            await self._complete_address(prepared, completion.turn)
            return completion

        _, completion = await self._attempt(prepared, send)
        return completion

    async def stream(self, prepared: PreparedCompletion, form: StreamForm) -> CompletionStream:
        """Send the message and stream the reply. Raises ChatError for an error before the first event."""

        async def send(prepared: PreparedCompletion) -> StartedStream:
            session = prepared.session
            if prepared.results is not None:
                encoded = await self._rest(prepared, prepared.results, form)
            elif prepared.command is not None:
                events = self._streams.events_or_calls(session, prepared.command)
                encoded = form.streamed(session, self._addressed(prepared, events))
            else:
                return await start_stream(form.whole(session, await self._greeting(prepared)))
            # A client with an idempotency key may come back for the reply.
            stop = None if prepared.is_repeatable else partial(self._stopper.stop, session, prepared.message_id)
            return await start_stream(encoded, on_client_left=stop)

        final, events = await self._attempt(prepared, send)
        return CompletionStream(final.session, events)

    async def _rest(
        self, prepared: PreparedCompletion, results: ReturnResults, form: StreamForm
    ) -> AsyncGenerator[bytes]:
        """Send results, and return the stream of the reply after them. Raises Problem when they are rejected."""
        session = prepared.session
        answer, result = await self._messages.return_results(session, results.model_copy(update={"wait": False}))
        if answer.turn.status == "failed":
            raise failure_of(answer.turn)
        events = self._addressed(prepared, self._streams.rest(session, prepared.turn or answer.turn, results))
        return form.streamed(session, events, said=result.said, used=result.used)

    async def _attempt(
        self, prepared: PreparedCompletion, send: Callable[[PreparedCompletion], Awaitable[_Sent]]
    ) -> tuple[PreparedCompletion, _Sent]:
        """Store the address of a message and send it; at another place when the session was changed meanwhile."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            has_new_address = await self._add_address(prepared)
            try:
                return prepared, await send(prepared)
            except Problem as problem:
                if has_new_address and prepared.command is not None and problem.code not in _MAYBE_ACCEPTED:
                    with suppress(StoreUnavailable):
                        await self._addresses.remove(prepared.session.id, prepared.command.message_id or "")
                is_last = attempt == MAX_ATTEMPTS or prepared.again is None
                if problem.code != "revision_conflict" or is_last:
                    raise ChatError.of(problem).about(prepared.session.id) from problem
            assert prepared.again is not None
            prepared = await prepared.again()
        raise AssertionError("the last attempt returns or raises")

    async def _add_address(self, prepared: PreparedCompletion) -> bool:
        """Store the address of the message before it is sent. False if there was one."""
        if prepared.command is None:
            return False
        message_id = prepared.command.message_id or ""
        return await self._addresses.add(
            prepared.conversation.address(prepared.session, message_id, is_whole=prepared.is_whole)
        )

    async def _complete_address(self, prepared: PreparedCompletion, turn: TurnResponse | Turn) -> None:
        """Store the digest of the conversation with its reply, before the client receives the reply.

        The reply is sent even if the store is down: the conversation is then found by the message and the reply's text.
        """
        is_answered = turn.assistant_message is not None and turn.status not in ("failed", "pending")
        if prepared.message_id is not None and turn.assistant_message is not None and is_answered:
            conversation = prepared.conversation
            seen = conversation.with_reply(turn.assistant_message.text)
            asked = conversation.digest(conversation.asked_last)
            with suppress(StoreUnavailable):
                await self._addresses.complete(prepared.session.id, prepared.message_id, seen, asked=asked)

    async def _addressed(
        self, prepared: PreparedCompletion, events: AsyncGenerator[StreamEvent | None]
    ) -> AsyncGenerator[StreamEvent | None]:
        """The events of a turn. The address of its reply is stored before the last one is sent."""
        async with aclosing(events):
            async for event in events:
                if event is not None and isinstance(event.data, TurnClosed):
                    await self._complete_address(prepared, event.data.turn)
                yield event

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

    async def _prepared(self, given: "_Preparation") -> PreparedCompletion:
        """A request with its current place."""
        return replace(
            await self._found(given),
            is_repeatable=given.key is not None,
            taken=taken_parameters(given.request.others, given.agent[0].definition),
            has_older_form=given.requested.has_older_form,
        )

    async def _found(self, given: "_Preparation") -> PreparedCompletion:
        conversation, key = given.conversation, given.key
        if given.requested.returns_results:
            return await self._prepared_results(given)
        if given.name is not None:
            return await self._prepared_by_name(given, given.name)
        if given.requested.called is not None and given.requested.text is not None:
            called = await self._place_after_calls(given, given.requested.called)
            if called is not None:
                return await self._placed(given, called)
        if given.requested.text is not None and (conversation.history or len(conversation.asked) > 1):
            place = await self._conversations.find(
                given.organization_id,
                given.agent,
                conversation,
                initial_context=given.request.initial_context,
                key=key,
            )
            if place is not None:
                return await self._placed(given, place)
        own_id = None if key is None else _session_id_for(given.organization_id, key)
        session = await self._create_session(given, own_id)
        if conversation.has_history:
            place = await self._conversations.place_in(session, conversation, sends_all=True, key=key)
            return await self._placed(given, place)
        return PreparedCompletion(session, _first_command(given), conversation, is_whole=True)

    async def _prepared_results(self, given: "_Preparation") -> PreparedCompletion:
        """The results of a request, with the turn that they continue. Raises ChatError if there is none."""
        returned = given.requested.results
        if returned is None:
            return await self._prepared_function_result(given)
        session = await self._session_of_calls(given, returned.place)
        named = None if given.name is None else await self._named_session(given.organization_id, given.name.id)
        if session is not None and named is not None and named.id != session.id:
            message = f"The tool results are of calls of another session than {named.id}, which the request names."
            raise ChatError(400, "conversation_mismatch", message, "messages").about(named.id)
        turn = None if session is None else await self._conversations.turn(session, returned.place.turn_id)
        if session is None or turn is None:
            message = f"There is no tool call {returned.results[0].call_id} that waits for a result."
            raise ChatError(400, "client_call_not_pending", message, "messages")
        _require_own(session, given)
        results = ReturnResults(results=returned.results, wait=True)
        return PreparedCompletion(session, None, given.conversation, results=results, turn=turn)

    async def _prepared_function_result(self, given: "_Preparation") -> PreparedCompletion:
        """A result in the older form, with the turn whose call the history leads to. Raises ChatError for none.

        Turns that wait for the result come before those that may have it.
        """
        result = given.requested.function_result
        assert result is not None, "the request returns results"
        if given.name is None:
            asked = await self._conversations.asked_turns(
                given.organization_id, given.agent, given.conversation, initial_context=given.request.initial_context
            )
        else:
            named = await self._named_session(given.organization_id, given.name.id)
            asked = [] if named is None else await self._conversations.asked_turns_in(named, given.conversation)
        found = []
        for place in asked:
            call_id = await self._call_of(result, place)
            if call_id is not None:
                found.append((place, call_id))
        found.sort(key=lambda each: not waits_for_client(each[0].view))
        if not found:
            message = f"There is no call of {result.name[:100]} that waits for a result."
            raise ChatError(400, "client_call_not_pending", message, "messages")
        place, call_id = found[0]
        _require_own(place.session, given)
        results = ReturnResults(
            results=(ClientResult(call_id=call_id, content=result.content),),
            expected_revision=place.view.head.revision if given.name is None else None,
            wait=True,
        )
        again = partial(self._prepared, given)
        return PreparedCompletion(
            place.session, None, given.conversation, results=results, turn=place.turn, again=again
        )

    async def _call_of(self, result: FunctionResult, place: AskedTurn) -> str | None:
        """The call of a turn that a result in the older form belongs to."""
        is_ended = place.view.head.is_completed
        recorded = await self._messages.recorded_calls(place.session, place.turn.id) if is_ended else ()
        return call_of(result, place.turn.id, place.view, recorded)

    async def _results_with_message(self, requested: RequestedTurn, place: Place) -> tuple[ClientResult, ...]:
        """The results that come with a message; those in the older form belong to the waiting call."""
        if requested.results is not None or requested.function_result is None:
            return requested.results.results if requested.results else ()
        view = place.view or (await self._session_reader.view(place.session))[0]
        if not waits_for_client(view):
            return ()
        call_id = call_of(requested.function_result, view.turns[-1].id, view)
        content = requested.function_result.content
        return () if call_id is None else (ClientResult(call_id=call_id, content=content),)

    async def _place_after_calls(self, given: "_Preparation", place: CallPlace) -> Place | None:
        """The place of a message in the session of the newest call in its history; None if it is not there."""
        session = await self._session_of_calls(given, place)
        if session is None:
            return None
        try:
            _require_own(session, given)
            return await self._conversations.place_in(session, given.conversation, sends_all=True, key=given.key)
        except ChatError:
            return None

    async def _session_of_calls(self, given: "_Preparation", place: CallPlace) -> StoredSession | None:
        """The session of calls, if it is one of the organization."""
        try:
            return await self._session_reader.session(given.organization_id, place.session_id)
        except Problem as problem:
            if problem.code != "not_found":
                raise
        return None

    async def _prepared_by_name(self, given: "_Preparation", name: SessionName) -> PreparedCompletion:
        own_id = session_id_of_client(given.organization_id, name.id)
        known = await self._named_session(given.organization_id, name.id)
        if known is None and not (name.is_of_platform or given.conversation.has_history):
            session = await self._create_session(given, own_id)
            return PreparedCompletion(session, _first_command(given), given.conversation)
        if known is None:
            known = await self._create_session(given, own_id)
        elif known.id == own_id and known.recorded_at is None:
            # An earlier request may have stored the session and not started it.
            known = await self._session_creator.create_once(
                given.organization_id, _new_session(given), own_id, _imported(given, own_id)
            )
        try:
            _require_own(known, given)
            if given.requested.text is None:
                await self._require_nothing_said(known)
                return PreparedCompletion(known, None, given.conversation)
            place = await self._conversations.place_in(
                known, given.conversation, sends_all=name.is_of_platform, key=given.key
            )
            return await self._placed(given, place)
        except ChatError as error:
            raise error.about(known.id) from None

    async def _placed(self, given: "_Preparation", place: Place) -> PreparedCompletion:
        """The message of a request at its place."""
        requested = given.requested
        options = await self._reply_options.options(
            place.session, reply_format=requested.reply_format, system=requested.system, offered=requested.offered
        )
        command = await self._conversations.command(
            place, _message_id(given.key), on_busy=given.request.on_busy, options=options
        )
        results = await self._results_with_message(requested, place)
        command = command.model_copy(update={"hands_over": True, "results": results})
        return PreparedCompletion(
            place.session, command, given.conversation, place.is_whole, again=partial(self._prepared, given)
        )

    async def _named_session(self, organization_id: str, name: str) -> StoredSession | None:
        """The session with this id, Playhead's or the client's; None when the client's id is new.

        Raises Problem when an id in Playhead's own form is unknown.
        """
        try:
            return await self._session_reader.session(organization_id, name)
        except Problem as problem:
            if problem.code != "not_found" or name.startswith("ses_"):
                raise
        try:
            return await self._session_reader.session(organization_id, session_id_of_client(organization_id, name))
        except Problem as problem:
            if problem.code != "not_found":
                raise
        return None

    async def _create_session(self, given: "_Preparation", session_id: str | None) -> StoredSession:
        """Create a session with the request's history, if it has one. Raises ChatError if the agent accepts none."""
        definition = given.agent[0].definition
        if given.conversation.has_history and definition.history != "accept":
            raise await self._conversations.unknown(given.organization_id, given.conversation)
        require_kept(given.requested.reply_format, definition, definition.start)
        new = _new_session(given)
        if given.conversation.has_history:
            new_id = session_id or new_session_id()
            imported = _imported(given, new_id)
            return await self._session_creator.create_once(given.organization_id, new, new_id, imported)
        if session_id is None:
            session, _ = await self._session_creator.create(given.organization_id, new)
            return session
        return await self._session_creator.create_once(given.organization_id, new, session_id)

    async def _require_nothing_said(self, session: StoredSession) -> None:
        """Raise ChatError for a request for the greeting of a session whose conversation has begun."""
        view, _ = await self._session_reader.view(session)
        if any(turn.user_message for turn in view.turns):
            raise ChatError(400, "nothing_to_say", "The request has no user message to answer.", "messages")

    async def _greeting(self, prepared: PreparedCompletion) -> Turn:
        session = prepared.session
        view, _ = await self._session_reader.view(session)
        if not view.turns:
            raise Problem("wait_timeout", "The agent has not sent its greeting yet.", session_id=session.id)
        greeting = view.turns[0]
        if greeting.status == "failed":
            raise Problem("model_failed", f"{greeting.error or 'The greeting failed.'} The session goes on.")
        if greeting.assistant_message is not None:
            await self._addresses.add(prepared.conversation.greeting(session, greeting.assistant_message.text))
        return greeting


@dataclass(frozen=True)
class _Preparation:
    """A request with everything that its place depends on."""

    organization_id: str
    request: ChatRequest
    requested: RequestedTurn
    agent: tuple[StoredAgent, int | None]
    conversation: Conversation
    name: SessionName | None
    key: str | None


def _require_own(session: StoredSession, given: _Preparation) -> None:
    """Raise ChatError for a session of another agent, version or initial context."""
    stored, version = given.agent
    if session.agent_id != stored.id or version not in (None, session.agent_version):
        pinned = f"{session.agent_name}@{session.agent_version}"
        message = f"The session {session.id} uses {pinned}, not {given.request.model}."
        raise ChatError(400, "conversation_mismatch", message, "model")
    if given.request.initial_context not in (None, context_of(session)):
        message = "initial_context can only be set when a session is created: this session has another one."
        raise ChatError(400, "unsupported_parameter", message, "initial_context")


def _new_session(given: _Preparation) -> NewSession:
    """The session to create for a request. Raises ChatError when its values are too large."""
    stored, version = given.agent
    system = {} if given.requested.system is None else {SYSTEM_MESSAGE: given.requested.system}
    try:
        return NewSession(
            agent=AgentVersion(id=stored.id, version=version),
            initial_context={**(given.request.initial_context or {}), **system},
            annotations=given.request.annotations,
        )
    except ValidationError as error:
        message = "The system messages (with initial_context), or the metadata, are too large for a session."
        raise ChatError(413, "too_large", message) from error


def _imported(given: _Preparation, session_id: str) -> Timeline | None:
    """The timeline that a new session begins with. Raises Problem("too_large") for a history that is too long."""
    definition = given.agent[0].definition
    if definition.history != "accept" or not given.conversation.has_history:
        return None
    greeting, exchanges = given.conversation.imported
    try:
        return import_history(definition, session_id, greeting, exchanges, at=datetime.now(UTC))
    except CommandRejected as rejected:
        raise problem_of(rejected.rejection) from rejected


def _first_command(given: _Preparation) -> SendMessage | None:
    """The first message of a session that was created with the system messages of the request."""
    if given.requested.text is None:
        return None
    client_tools = client_tools_among(given.requested.offered, given.agent[0].definition)
    options = ReplyOptions(reply_format=given.requested.reply_format, client_tools=client_tools)
    return SendMessage(
        text=MESSAGE_SEPARATOR.join(given.conversation.asked),
        message_id=_message_id(given.key),
        on_busy=given.request.on_busy,
        options=None if options == ReplyOptions() else options,
        hands_over=True,
    )


def _message_id(key: str | None) -> str:
    return key or f"msg_{uuid4().hex}"


def _session_id_for(organization_id: str, key: str) -> str:
    """The id of the session that a request with this key creates, the same for each repeat."""
    return f"ses_{sha256(f'{organization_id} {key}'.encode()).hexdigest()[:24]}"
