"""Turns and agents as objects of OpenAI's protocol."""

from collections.abc import Mapping, Sequence

from pydantic_core import to_json

from api.openai.client_tools import reply_since
from api.openai.completions import Completion
from api.openai.schemas import (
    ChatCompletion,
    Choice,
    ClientFunction,
    CompletionUsage,
    FinishReason,
    FunctionCall,
    FunctionToolCall,
    Model,
    PromptDetails,
    Reply,
    TurnMetadata,
)
from api.schemas.responses import ClientCall
from domain.sessions.client_calls import call_order
from domain.sessions.timeline import WaitingClientCall
from domain.turns.turn import TurnStatus
from domain.usage import ModelUsage
from store.agents import AgentName, StoredAgent
from store.sessions.sessions import StoredSession


def completion_of(completion: Completion, *, has_older_form: bool = False) -> ChatCompletion:
    """A turn as a chat completion: completed, interrupted, or waiting for its client.

    With `has_older_form` a call is given as a `function_call`.
    """
    session, turn, calls = completion.session, completion.turn, completion.calls
    text = reply_since(text_of(completion), completion.said)
    finish: FinishReason = finish_reason(turn.status)
    message = Reply(content=(text or None) if calls else text)
    if calls and has_older_form:
        finish, message = "function_call", message.model_copy(update={"function_call": function_call_of(calls)})
    elif calls:
        finish, message = "tool_calls", message.model_copy(update={"tool_calls": tuple(map(tool_call_of, calls))})
    return ChatCompletion(
        id=completion_id(turn.id),
        created=int(turn.created_at.timestamp()),
        model=model_name(session),
        choices=(Choice(message=message, finish_reason=finish),),
        usage=usage_since(calls[0].used.llm if calls else turn.usage.llm, completion.used.llm),
        session_id=session.id,
        metadata=TurnMetadata(session_id=session.id, turn_id=turn.id, node_id=turn.node_id or "", status=turn.status),
    )


def text_of(completion: Completion) -> str:
    """The whole text of the reply so far."""
    if completion.calls:
        return completion.calls[0].said
    return completion.turn.assistant_message.text if completion.turn.assistant_message else ""


def tool_call_of(call: WaitingClientCall | ClientCall) -> FunctionToolCall:
    """A call that waits for its client."""
    arguments = to_json(call.arguments).decode()
    return FunctionToolCall(id=call.call_id, function=ClientFunction(name=call.tool, arguments=arguments))


def function_call_of(calls: Sequence[WaitingClientCall | ClientCall]) -> FunctionCall:
    """The first of the calls that wait for their client, in the older form; the others follow its result."""
    first = min(calls, key=lambda call: call_order(call.call_id))
    call = tool_call_of(first)
    return FunctionCall(name=call.function.name, arguments=call.function.arguments, id=call.id)


def model_of(agent: StoredAgent | AgentName) -> Model:
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


def usage_since(llm: Mapping[str, ModelUsage], before: Mapping[str, ModelUsage]) -> CompletionUsage:
    """Tokens of a turn without those that an earlier response has reported."""
    whole, earlier = usage_of(llm), usage_of(before)
    return CompletionUsage(
        prompt_tokens=whole.prompt_tokens - earlier.prompt_tokens,
        completion_tokens=whole.completion_tokens - earlier.completion_tokens,
        total_tokens=whole.total_tokens - earlier.total_tokens,
        prompt_tokens_details=PromptDetails(
            cached_tokens=whole.prompt_tokens_details.cached_tokens - earlier.prompt_tokens_details.cached_tokens
        ),
    )
