"""Turns and agents as objects of OpenAI's protocol."""

from collections.abc import Mapping

from api.openai.schemas import (
    ChatCompletion,
    Choice,
    CompletionUsage,
    FinishReason,
    Model,
    PromptDetails,
    Reply,
    TurnMetadata,
)
from domain.turns.turn import Turn, TurnStatus
from domain.usage import ModelUsage
from store.agents import StoredAgent
from store.sessions.sessions import StoredSession


def completion_of(session: StoredSession, turn: Turn) -> ChatCompletion:
    """A completed or interrupted turn as a chat completion."""
    text = turn.assistant_message.text if turn.assistant_message else ""
    return ChatCompletion(
        id=completion_id(turn.id),
        created=int(turn.created_at.timestamp()),
        model=model_name(session),
        choices=(Choice(message=Reply(content=text), finish_reason=finish_reason(turn.status)),),
        usage=usage_of(turn.usage.llm),
        session_id=session.id,
        metadata=TurnMetadata(session_id=session.id, turn_id=turn.id, node_id=turn.node_id or "", status=turn.status),
    )


def model_of(agent: StoredAgent) -> Model:
    """An agent as a model. `created` is when its latest version was stored."""
    return Model(id=agent.name, created=int(agent.created_at.timestamp()))


def completion_id(turn_id: str) -> str:
    """The completion id of a turn."""
    return f"chatcmpl-{turn_id}"


def model_name(session: StoredSession) -> str:
    """The model name of a session: its agent and the version it is pinned to."""
    return f"{session.agent_name}@{session.agent_version}"


def finish_reason(status: TurnStatus) -> FinishReason:
    """The finish reason of a turn. The protocol has none for an interrupted reply; `length` says that it is cut."""
    return "length" if status == "interrupted" else "stop"


def usage_of(llm: Mapping[str, ModelUsage]) -> CompletionUsage:
    """Tokens summed over all models of a turn."""
    used = llm.values()
    return CompletionUsage(
        prompt_tokens=sum(model.prompt_tokens for model in used),
        completion_tokens=sum(model.completion_tokens for model in used),
        total_tokens=sum(model.total_tokens for model in used),
        prompt_tokens_details=PromptDetails(cached_tokens=sum(model.cache_read_input_tokens for model in used)),
    )
