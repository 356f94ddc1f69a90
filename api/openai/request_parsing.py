"""Parsing of chat completion requests: the conversation, and parameters that are not supported."""

from dataclasses import dataclass

from api.openai.client_tools import (
    ReturnedResults,
    called_place,
    function_result,
    message_text,
    offered_names,
    offering_parameter,
    returned_results,
)
from api.openai.errors import ChatError
from api.openai.function_calls import FunctionResult
from api.openai.parameters import require_supported
from api.openai.reply_options import read_reply_format
from api.openai.schemas import ChatRequest
from domain.sessions.client_calls import CallPlace
from domain.sessions.seen_digest import Spoken
from domain.turns.turn import ReplyFormat


@dataclass(frozen=True)
class RequestedTurn:
    """The turn that a request asks for.

    `text` is the last user message, or None to get the greeting only; `spoken` is the whole conversation as the client
    sent it, with that message at its end, and `system` is the text of its system messages. `results` are those of
    client tools at the end: without a text the reply continues with them; `function_result` is one in the older form,
    whose call the client does not name. `offered` are the functions that the client offers, in the older form if
    `has_older_form`, and `called` is the place of the newest call in its history.
    """

    text: str | None
    spoken: tuple[Spoken, ...]
    system: str | None
    reply_format: ReplyFormat | None = None
    results: ReturnedResults | None = None
    offered: frozenset[str] = frozenset()
    called: CallPlace | None = None
    function_result: FunctionResult | None = None
    has_older_form: bool = False

    @property
    def returns_results(self) -> bool:
        """True when the reply continues with results, and there is no message."""
        return self.text is None and (self.results is not None or self.function_result is not None)


def read_request(request: ChatRequest) -> RequestedTurn:
    """Parse a request. Raises ChatError for parameters and messages that are not supported."""
    require_supported(request.others)
    reply_format = read_reply_format(request.response_format)
    results = returned_results(request.messages)
    ends_with_results = bool(request.messages) and request.messages[-1].role in ("tool", "function")
    result = function_result(request.messages) if results is None else None
    if ends_with_results and results is None and result is None:
        message = "The last message is a tool result, and no tool call waits for it. Put a user message last."
        raise ChatError(400, "nothing_to_say", message, "messages")
    texts = [
        (message.role, "" if message.role in ("tool", "function") else message_text(message, at))
        for at, message in enumerate(request.messages)
    ]
    system = "\n\n".join(text for role, text in texts if role in ("system", "developer") and text)
    spoken = tuple(
        Spoken(role, text) for role, text in texts if role == "user" or (role == "assistant" and text.strip())
    )
    is_after_reply = bool(spoken) and spoken[-1].speaker != "user" and any(each.speaker == "user" for each in spoken)
    if is_after_reply and not ends_with_results:
        message = "The last message is from the assistant: there is nothing to answer. Put a user message last."
        raise ChatError(400, "nothing_to_say", message, "messages")
    text = spoken[-1].text if spoken and spoken[-1].speaker == "user" and not ends_with_results else None
    if text is not None and not text.strip():
        raise ChatError(400, "nothing_to_say", "The last user message is blank.", "messages")
    return RequestedTurn(
        text,
        tuple(each for each in spoken if each.text.strip()),
        system or None,
        reply_format,
        results,
        offered_names(request.others),
        called_place(request.messages),
        result,
        has_older_form=_has_older_form(request),
    )


def _has_older_form(request: ChatRequest) -> bool:
    """True when a request offers its functions in the older form, or returns a result in it and offers none."""
    if offering_parameter(request.others) == "functions":
        return True
    returns_one = bool(request.messages) and request.messages[-1].role == "function"
    return returns_one and not request.others.get("tools")
