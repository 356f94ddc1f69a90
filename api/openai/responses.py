"""Turns and agents in the words of the chat protocol."""

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
from domain.turns.turn import Turn
from domain.usage import Usage
from store.agents import StoredAgent
from store.sessions.sessions import StoredSession


def completion_of(session: StoredSession, turn: Turn) -> ChatCompletion:
    """A turn that was answered, as a completion."""
    text = turn.assistant_message.text if turn.assistant_message else ""
    return ChatCompletion(
        id=completion_id(turn.id),
        created=int(turn.created_at.timestamp()),
        model=model_name(session),
        choices=(Choice(message=Reply(content=text), finish_reason=finish_reason(turn)),),
        usage=usage_of(turn.usage),
        session_id=session.id,
        metadata=TurnMetadata(session_id=session.id, turn_id=turn.id, node_id=turn.node_id or "", status=turn.status),
    )


def model_of(agent: StoredAgent) -> Model:
    """An agent as a model; it was created when its newest version was."""
    return Model(id=agent.name, created=int(agent.created_at.timestamp()))


def completion_id(turn_id: str) -> str:
    """The id of the completion that is a turn."""
    return f"chatcmpl-{turn_id}"


def model_name(session: StoredSession) -> str:
    """The model that answered: the agent, and the version that the session is pinned to."""
    return f"{session.agent_name}@{session.agent_version}"


def finish_reason(turn: Turn) -> FinishReason:
    """Why the reply ended. The protocol has no word for a reply that was stopped; `length` says that it was cut."""
    return "length" if turn.status == "interrupted" else "stop"


def usage_of(usage: Usage) -> CompletionUsage:
    """Tokens over all models and calls."""
    used = usage.llm.values()
    return CompletionUsage(
        prompt_tokens=sum(model.prompt_tokens for model in used),
        completion_tokens=sum(model.completion_tokens for model in used),
        total_tokens=sum(model.total_tokens for model in used),
        prompt_tokens_details=PromptDetails(cached_tokens=sum(model.cache_read_input_tokens for model in used)),
    )
