"""Responses over sessions: finds the place that a request continues from, sends the message, reads and deletes."""

from dataclasses import dataclass
from uuid import uuid4

from api.http.problems import Problem, not_found
from api.openai.client_tools import taken_parameters
from api.openai.conversations import MESSAGE_SEPARATOR, Conversation
from api.openai.errors import ChatError
from api.openai.reply_options import ReplyOptionsReader
from api.openai.request_parsing import read_request
from api.openai.responses_api.ids import ResponsePlace, place_of
from api.openai.responses_api.rendering import response_of, waiting_response
from api.openai.responses_api.request_parsing import (
    chat_request_of,
    in_terms_of_responses,
    is_reference,
    named_place,
    require_possible,
    unknown_previous,
)
from api.openai.responses_api.schemas import AgentResponse, DeletedResponse, ResponseRequest
from api.openai.responses_api.streaming import ResponseForm
from api.openai.schemas import ChatRequest
from api.openai.service import ChatCompletions, CompletionStream, PreparedCompletion
from api.openai.session_names import SessionName
from api.sessions.erasure import ErasureService
from api.sessions.reader import SessionReader
from domain.sessions.client_calls import CallPlace
from domain.sessions.commands import SendMessage
from domain.sessions.timeline import WaitingClientCall
from domain.turns.turn import Turn
from store.agents import AgentStore
from store.sessions.sessions import SessionStore, StoredSession


@dataclass(frozen=True)
class PreparedResponse:
    """A session and the message to send to it, with the request as one for a chat completion."""

    completion: PreparedCompletion
    chat: ChatRequest


class Responses:
    """Answers requests for responses with turns of sessions."""

    def __init__(
        self,
        chat_completions: ChatCompletions,
        *,
        session_reader: SessionReader,
        sessions: SessionStore,
        agents: AgentStore,
        erasure: ErasureService,
    ) -> None:
        self._chat_completions = chat_completions
        self._session_reader = session_reader
        self._sessions = sessions
        self._erasure = erasure
        self._reply_options = ReplyOptionsReader(session_reader, agents)

    async def prepare(
        self, organization_id: str, request: ResponseRequest, *, name: SessionName | None, key: str | None
    ) -> PreparedResponse:
        """Find the session and the turn that a request continues from, or create a session. Nothing is sent yet.

        Raises ChatError, or Problem when no session is found or created.
        """
        require_possible(request)
        try:
            chat = chat_request_of(request)
            name = _name_of(request, name)
            place = named_place(request) if name is None or request.previous_response_id else None
            if (requested := read_request(chat)).results is not None and requested.text is None:
                _require_same(place if request.previous_response_id else None, requested.results.place)
                completion = await self._chat_completions.prepare(organization_id, chat, name=name, key=key)
                return PreparedResponse(completion, chat)
            found = None if place is None else await self._turn_at(organization_id, place)
            if found is not None:
                return PreparedResponse(await self._after(organization_id, chat, *found, key=key), chat)
            if request.previous_response_id is not None:
                raise unknown_previous(request.previous_response_id)
            if place is not None and is_reference(request):
                message = "The input refers to an item that is not there. Send the messages themselves."
                raise ChatError(400, "invalid_request", message, "input")
            completion = await self._chat_completions.prepare(organization_id, chat, name=name, key=key)
        except ChatError as error:
            raise in_terms_of_responses(error) from None
        return PreparedResponse(completion, chat)

    async def create(self, prepared: PreparedResponse) -> AgentResponse:
        """Send the message and wait for the turn that answers it. Raises ChatError."""
        completion = await self._chat_completions.reply(prepared.completion)
        session, turn, calls = completion.session, completion.turn, completion.calls
        said, used = completion.said, completion.used
        if calls:
            return waiting_response(session, turn, calls, up_to=calls[0].used, said=said, used=used)
        return response_of(session, turn, said=said, used=used)

    async def stream(self, prepared: PreparedResponse) -> CompletionStream:
        """Send the message and stream the response. Raises ChatError for an error before the first event."""
        return await self._chat_completions.stream(prepared.completion, ResponseForm())

    async def get(self, organization_id: str, response_id: str) -> AgentResponse:
        """A response. Raises Problem("not_found")."""
        session, turn = await self._found(organization_id, response_id)
        calls = await self._calls_of(session, turn)
        return waiting_response(session, turn, calls, up_to=calls[0].used) if calls else response_of(session, turn)

    async def delete(self, organization_id: str, response_id: str) -> DeletedResponse:
        """Erase the session of a response that is its only one.

        Raises ChatError for a response with others in its session, because a session is erased as a whole.
        """
        session, turn = await self._found(organization_id, response_id)
        view, _ = await self._session_reader.view(session)
        if any(other.id != turn.id and other.user_message for other in view.all_turns) or view.head.turns_before:
            message = (
                "The session of this response has other responses, and a session is erased as a whole: "
                f"DELETE /v1/sessions/{session.id}."
            )
            raise ChatError(400, "response_in_conversation", message).about(session.id)
        await self._erasure.erase(organization_id, session.id)
        return DeletedResponse(id=response_id)

    async def _after(
        self, organization_id: str, chat: ChatRequest, session: StoredSession, turn: Turn, *, key: str | None
    ) -> PreparedCompletion:
        """The message to send after a turn, whether or not it is the newest. Raises ChatError."""
        requested = read_request(chat)
        agent, version = await self._chat_completions.agent(organization_id, chat.model)
        if session.agent_id != agent.id or version not in (None, session.agent_version):
            pinned = f"{session.agent_name}@{session.agent_version}"
            message = f"The session {session.id} uses {pinned}, not {chat.model}."
            raise ChatError(400, "conversation_mismatch", message, "model").about(session.id)
        if requested.text is None:
            message = "The request has no user message to answer."
            raise ChatError(400, "nothing_to_say", message, "input").about(session.id)
        options = await self._reply_options.options(
            session,
            reply_format=requested.reply_format,
            system=requested.system,
            offered=requested.offered,
            after=turn,
        )
        conversation = Conversation(agent.id, chat.annotations, requested.spoken, requested.system)
        command = SendMessage(
            text=MESSAGE_SEPARATOR.join(conversation.asked),
            message_id=key or f"msg_{uuid4().hex}",
            on_busy=chat.on_busy or ("interrupt" if await self._calls_of(session, turn) else None),
            options=options,
            after_turn_id=turn.id,
            hands_over=True,
            results=requested.results.results if requested.results else (),
        )
        taken = taken_parameters(chat.others, agent.definition)
        return PreparedCompletion(session, command, conversation, is_repeatable=key is not None, taken=taken)

    async def _calls_of(self, session: StoredSession, turn: Turn) -> tuple[WaitingClientCall, ...]:
        """The calls of a turn that wait for its client."""
        if turn.status != "pending":
            return ()
        view, _ = await self._session_reader.view(session)
        return tuple(call for call in view.head.client_calls if call.turn_id == turn.id)

    async def _found(self, organization_id: str, response_id: str) -> tuple[StoredSession, Turn]:
        place = place_of(response_id)
        found = None if place is None else await self._turn_at(organization_id, place)
        if found is None:
            raise not_found("response", response_id)
        return found

    async def _turn_at(self, organization_id: str, place: ResponsePlace) -> tuple[StoredSession, Turn] | None:
        """The session and the turn of a response; None if either is not there."""
        try:
            session = await self._session_reader.session(organization_id, place.session_id)
        except Problem as problem:
            if problem.code != "not_found":
                raise
            return None
        recorded = await self._sessions.turns_of(session.id, [place.turn_id])
        if recorded and recorded[0].status != "pending":
            return session, recorded[0]
        view, _ = await self._session_reader.view(session)
        turn = next((turn for turn in view.all_turns if turn.id == place.turn_id), None)
        return None if turn is None else (session, turn)


def _require_same(named: ResponsePlace | None, called: CallPlace) -> None:
    """Raise ChatError for results that belong to another response than the one that is named."""
    if named is not None and (named.session_id, named.turn_id) != called:
        message = "The function_call_output is of a call of another response than previous_response_id."
        raise ChatError(400, "conversation_mismatch", message, "previous_response_id")


def _name_of(request: ResponseRequest, name: SessionName | None) -> SessionName | None:
    """The session that the request names, in `conversation` or as chat completions do. Raises ChatError for two."""
    conversation_id = request.conversation_id
    if conversation_id is None:
        return name
    if name is not None and not name.is_of_platform and name.id != conversation_id:
        message = f"conversation names another session than {name.id}, which the request names too."
        raise ChatError(400, "invalid_request", message, "conversation")
    return SessionName(conversation_id)
