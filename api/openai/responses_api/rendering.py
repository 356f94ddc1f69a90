"""Turns as objects of the Responses API."""

from collections.abc import Mapping

from api.openai.responses import model_name
from api.openai.responses_api.ids import ResponsePlace
from api.openai.responses_api.schemas import (
    AgentResponse,
    ConversationReference,
    InputTokensDetails,
    OutputMessage,
    OutputText,
    ResponseFailure,
    ResponseStatus,
    ResponseUsage,
)
from api.openai.schemas import TurnMetadata
from api.schemas.events import TurnStarted
from api.schemas.responses import Turn as ShownTurn
from domain.turns.turn import Turn, TurnStatus
from domain.usage import ModelUsage
from store.sessions.sessions import StoredSession

STATUS: Mapping[TurnStatus, ResponseStatus] = {
    "pending": "in_progress",
    "completed": "completed",
    "interrupted": "incomplete",
    "failed": "failed",
}


def response_of(session: StoredSession, turn: Turn | ShownTurn) -> AgentResponse:
    """A turn as a response."""
    begun = _begun(session, turn.id, turn.parent_id, turn.index, int(turn.created_at.timestamp()))
    output = (message_of(session, turn),) if turn.assistant_message else ()
    return begun.model_copy(
        update={
            "status": STATUS[turn.status],
            "error": ResponseFailure(message=turn.error or "The turn failed.") if turn.status == "failed" else None,
            "metadata": begun.metadata.model_copy(update={"node_id": turn.node_id or "", "status": turn.status}),
            "output": output,
            "usage": None if turn.status == "pending" else usage_of(turn.usage.llm),
        }
    )


def started_response(session: StoredSession, started: TurnStarted) -> AgentResponse:
    """A turn that has begun as a response."""
    created = int(started.created_at.timestamp())
    return _begun(session, started.turn_id, started.parent_id, started.index, created)


def message_of(session: StoredSession, turn: Turn | ShownTurn) -> OutputMessage:
    """The agent's message of a turn."""
    return OutputMessage(
        id=ResponsePlace(session.id, turn.id).message_id,
        status="incomplete" if turn.status == "interrupted" else "completed",
        content=(OutputText(text=turn.assistant_message.text if turn.assistant_message else ""),),
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
    # The greeting, with the index 0, is no response that the client has asked for.
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
