"""Turns as objects of the Responses API."""

from collections.abc import Mapping, Sequence

from pydantic_core import to_json

from api.openai.client_tools import reply_since
from api.openai.completions import NOTHING_USED
from api.openai.responses import model_name
from api.openai.responses_api.ids import ResponsePlace, function_call_item_id
from api.openai.responses_api.schemas import (
    AgentResponse,
    ConversationReference,
    FunctionCallItem,
    InputTokensDetails,
    OutputMessage,
    OutputText,
    ResponseFailure,
    ResponseStatus,
    ResponseUsage,
)
from api.openai.schemas import TurnMetadata
from api.schemas.events import TurnStarted
from api.schemas.responses import ClientCall
from api.schemas.responses import Turn as ShownTurn
from domain.sessions.timeline import WaitingClientCall
from domain.turns.turn import Turn, TurnStatus
from domain.usage import ModelUsage, Usage
from store.sessions.sessions import StoredSession

STATUS: Mapping[TurnStatus, ResponseStatus] = {
    "pending": "in_progress",
    "completed": "completed",
    "interrupted": "incomplete",
    "failed": "failed",
}


def response_of(
    session: StoredSession, turn: Turn | ShownTurn, *, said: int = 0, used: Usage = NOTHING_USED
) -> AgentResponse:
    """A turn as a response, after the first `said` characters of its reply; `used` is the usage up to there."""
    begun = _begun(session, turn.id, turn.parent_id, turn.index, int(turn.created_at.timestamp()))
    text = reply_since(turn.assistant_message.text, said) if turn.assistant_message else None
    output = () if text is None or (said and not text) else (message_of(session, turn, text),)
    return begun.model_copy(
        update={
            "status": STATUS[turn.status],
            "error": ResponseFailure(message=turn.error or "The turn failed.") if turn.status == "failed" else None,
            "metadata": begun.metadata.model_copy(update={"node_id": turn.node_id or "", "status": turn.status}),
            "output": output,
            "usage": None if turn.status == "pending" else usage_since(turn.usage.llm, used.llm),
        }
    )


def waiting_response(
    session: StoredSession,
    turn: Turn | ShownTurn,
    calls: Sequence[WaitingClientCall | ClientCall],
    *,
    up_to: Usage,
    said: int = 0,
    used: Usage = NOTHING_USED,
) -> AgentResponse:
    """A turn that waits for its client as a response: its text since `said` characters, and the calls."""
    begun = response_of(session, turn.model_copy(update={"assistant_message": None}))
    text = reply_since(calls[0].said, said)
    message = (message_of(session, turn, text),) if text else ()
    output = (*message, *map(function_call_of, calls))
    usage = usage_since(up_to.llm, used.llm)
    return begun.model_copy(update={"status": "completed", "output": output, "usage": usage})


def function_call_of(call: WaitingClientCall | ClientCall) -> FunctionCallItem:
    """A call that waits for its client as an item."""
    arguments = to_json(call.arguments).decode()
    item_id = function_call_item_id(call.call_id)
    return FunctionCallItem(id=item_id, call_id=call.call_id, name=call.tool, arguments=arguments)


def started_response(session: StoredSession, started: TurnStarted) -> AgentResponse:
    """A turn that has begun as a response."""
    created = int(started.created_at.timestamp())
    return _begun(session, started.turn_id, started.parent_id, started.index, created)


def pending_turn(started: TurnStarted) -> Turn:
    """A turn that has begun, without its text."""
    return Turn(id=started.turn_id, parent_id=started.parent_id, index=started.index, created_at=started.created_at)


def message_of(session: StoredSession, turn: Turn | ShownTurn, text: str) -> OutputMessage:
    """The agent's message of a turn, with this text."""
    return OutputMessage(
        id=ResponsePlace(session.id, turn.id).message_id,
        status="incomplete" if turn.status == "interrupted" else "completed",
        content=(OutputText(text=text),),
    )


def usage_since(llm: Mapping[str, ModelUsage], before: Mapping[str, ModelUsage]) -> ResponseUsage:
    """Tokens of a turn without those that an earlier response has reported."""
    whole, earlier = usage_of(llm), usage_of(before)
    return ResponseUsage(
        input_tokens=whole.input_tokens - earlier.input_tokens,
        input_tokens_details=InputTokensDetails(
            cached_tokens=whole.input_tokens_details.cached_tokens - earlier.input_tokens_details.cached_tokens,
            cache_write_tokens=whole.input_tokens_details.cache_write_tokens
            - earlier.input_tokens_details.cache_write_tokens,
        ),
        output_tokens=whole.output_tokens - earlier.output_tokens,
        total_tokens=whole.total_tokens - earlier.total_tokens,
    )


def usage_of(llm: Mapping[str, ModelUsage]) -> ResponseUsage:
    """Tokens summed over all models of a turn."""
    used = llm.values()
    return ResponseUsage(
        input_tokens=sum(model.prompt_tokens for model in used),
        input_tokens_details=InputTokensDetails(
            cached_tokens=sum(model.cache_read_input_tokens for model in used),
            cache_write_tokens=sum(model.cache_creation_input_tokens for model in used),
        ),
        output_tokens=sum(model.completion_tokens for model in used),
        total_tokens=sum(model.total_tokens for model in used),
    )


def _begun(session: StoredSession, turn_id: str, parent_id: str | None, index: int, created_at: int) -> AgentResponse:
    # The greeting, with the index 0, is not a response that the client has asked for.
    previous = ResponsePlace(session.id, parent_id).response_id if parent_id and index > 1 else None
    return AgentResponse(
        id=ResponsePlace(session.id, turn_id).response_id,
        created_at=created_at,
        status="in_progress",
        conversation=ConversationReference(id=session.id),
        metadata=TurnMetadata(session_id=session.id, turn_id=turn_id, node_id="", status="pending"),
        model=model_name(session),
        previous_response_id=previous,
        session_id=session.id,
    )
