"""Parsing of requests for responses: to chat completion requests, and the earlier response that they continue from."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json

from api.openai.errors import ChatError
from api.openai.responses_api.ids import ResponsePlace, call_id_of_item, place_of
from api.openai.responses_api.schemas import InputItem, ResponseRequest
from api.openai.schemas import ChatMessage, ChatRequest, ContentPart
from domain.sessions.client_calls import call_place

TUNING: Final = frozenset(
    {"include", "max_output_tokens", "max_tool_calls", "reasoning", "stream_options", "truncation", "background"}
)
"""Parameters of responses alone that are documented to have no effect."""
_TEXT_PARTS: Final = frozenset({"input_text", "output_text", "text", "refusal"})
_FORMS: Final[Mapping[str, str]] = {"messages": "input", "response_format": "text.format"}
"""Parameters of chat completions, and their names in requests for responses."""


def require_possible(request: ResponseRequest) -> None:
    """Raise ChatError for parameters that cannot be honoured."""
    unsupported = {
        "background": (request.others.get("background") is True, "a reply is streamed or waited for"),
        "prompt": (request.others.get("prompt") is not None, "the agent has its own prompts"),
        "store": (
            request.others.get("store") is False,
            "a session continues from what it stores; leave it out, and erase the session when it is over: "
            "DELETE /v1/sessions/{id}",
        ),
    }
    for name, (is_given, why) in unsupported.items():
        if is_given:
            raise ChatError(400, "unsupported_parameter", f"{name} cannot be used with a session: {why}.", name)
    if request.previous_response_id is not None and request.conversation is not None:
        message = "previous_response_id and conversation cannot be used together: both name the session."
        raise ChatError(400, "invalid_request", message, "previous_response_id")


def chat_request_of(request: ResponseRequest) -> ChatRequest:
    """The request as one for a chat completion. Raises ChatError for input that is not text."""
    instructions = [ChatMessage(role="system", content=request.instructions)] if request.instructions else []
    others = {name: value for name, value in request.others.items() if name not in TUNING}
    return ChatRequest.model_validate(
        {
            **others,
            "model": request.model,
            "messages": [*instructions, *_messages(request)],
            "metadata": request.metadata,
            "initial_context": request.initial_context,
            "response_format": _response_format(request),
        }
    )


def named_place(request: ResponseRequest) -> ResponsePlace | None:
    """The response that the request continues from; None if it names none.

    Clients that send the items of earlier responses name the newest by the id of its message.
    """
    if request.previous_response_id is not None:
        place = place_of(request.previous_response_id)
        if place is None:
            raise unknown_previous(request.previous_response_id)
        return place
    items = request.input if isinstance(request.input, list) else []
    newest = next((item for item in reversed(items) if _is_of_agent(item)), None)
    if newest is None or not newest.id:
        return None
    call_id = call_id_of_item(newest.id)
    called = None if call_id is None else call_place(call_id)
    return ResponsePlace(called.session_id, called.turn_id) if called else place_of(newest.id)


def is_reference(request: ResponseRequest) -> bool:
    """True when the input has earlier messages by id only, so that their text cannot be used to find the session."""
    return isinstance(request.input, list) and any(item.type == "item_reference" for item in request.input)


def unknown_previous(response_id: str) -> ChatError:
    """The error for a response that is not there."""
    message = f"There is no response {response_id} in this organization."
    return ChatError(400, "previous_response_not_found", message, "previous_response_id")


def in_terms_of_responses(error: ChatError) -> ChatError:
    """The error with the parameter under its name in requests for responses."""
    param = error.body.param or ""
    for name, ours in _FORMS.items():
        if param == name or param.startswith((f"{name}.", f"{name}[")):
            renamed = param.replace(name, ours, 1).replace(".json_schema", "", 1)
            error.body = error.body.model_copy(update={"param": renamed})
    return error


def _is_of_agent(item: InputItem) -> bool:
    return item.type == "item_reference" or (item.type == "message" and item.role == "assistant")


def _messages(request: ResponseRequest) -> Iterator[ChatMessage]:
    if isinstance(request.input, str):
        if request.input:
            yield ChatMessage(role="user", content=request.input)
        return
    newest = max((at for at, item in enumerate(request.input) if _is_of_agent(item)), default=-1)
    # References have no text, so the messages between them cannot be compared as a history.
    first = newest + 1 if is_reference(request) else 0
    for at, item in enumerate(request.input):
        if at < first and item.role not in ("system", "developer"):
            continue
        if item.type == "message" and item.role is not None:
            yield ChatMessage(role=item.role, content=_content(item, at))
        elif item.type == "function_call":
            yield ChatMessage.model_validate({"role": "assistant", "tool_calls": [{"id": item.call_id}]})
        elif item.type == "function_call_output":
            output = _output(item, at)
            yield ChatMessage.model_validate({"role": "tool", "tool_call_id": item.call_id, "content": output})


def _content(item: InputItem, at: int) -> str | list[ContentPart] | None:
    if not isinstance(item.content, list):
        return item.content
    for number, part in enumerate(item.content):
        if part.type not in _TEXT_PARTS:
            message = f"Content parts of type {part.type} are not supported: send text."
            raise ChatError(400, "unsupported_message", message, f"input[{at}].content[{number}]")
    return [ContentPart(type="text", text=part.text) for part in item.content]


def _output(item: InputItem, at: int) -> str:
    """The result of a call: a text, the parts of one, or JSON."""
    if isinstance(item.output, str):
        return item.output
    if not isinstance(item.output, list):
        return to_json(item.output).decode()
    texts = [part.get("text") if isinstance(part, dict) else None for part in item.output]
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            message = "The output of a function call must be text."
            raise ChatError(400, "unsupported_message", message, f"input[{at}].output[{number}]")
    return "".join(map(str, texts))


def _response_format(request: ResponseRequest) -> JsonValue:
    form = request.text.format if request.text else None
    if isinstance(form, dict) and form.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": {name: form[name] for name in form if name != "type"}}
    return form
