"""Parsing of chat completion requests: the conversation, and parameters that are not supported."""

from dataclasses import dataclass

from api.openai.errors import ChatError
from api.openai.parameters import require_supported
from api.openai.reply_options import read_reply_format
from api.openai.schemas import ChatMessage, ChatRequest
from domain.sessions.seen_digest import Spoken
from domain.turns.turn import ReplyFormat


@dataclass(frozen=True)
class RequestedTurn:
    """The turn that a request asks for.

    `text` is the last user message, or None to get the greeting only; `spoken` is the whole conversation as the client
    sent it, with that message at its end, and `system` is the text of its system messages.
    """

    text: str | None
    spoken: tuple[Spoken, ...]
    system: str | None
    reply_format: ReplyFormat | None = None


def read_request(request: ChatRequest) -> RequestedTurn:
    """Parse a request. Raises ChatError for parameters and messages that are not supported."""
    require_supported(request.others)
    reply_format = read_reply_format(request.response_format)
    if request.messages and request.messages[-1].role in ("tool", "function"):
        message = "The last message is a tool result, and no tool call waits for one. Put a user message last."
        raise ChatError(400, "nothing_to_say", message, "messages")
    texts = [(message.role, _text(message, at)) for at, message in enumerate(request.messages)]
    system = "\n\n".join(text for role, text in texts if role in ("system", "developer") and text)
    spoken = tuple(
        Spoken(role, text) for role, text in texts if role == "user" or (role == "assistant" and text.strip())
    )
    if spoken and spoken[-1].speaker != "user" and any(each.speaker == "user" for each in spoken):
        message = "The last message is from the assistant: there is nothing to answer. Put a user message last."
        raise ChatError(400, "nothing_to_say", message, "messages")
    text = spoken[-1].text if spoken and spoken[-1].speaker == "user" else None
    if text is not None and not text.strip():
        raise ChatError(400, "nothing_to_say", "The last user message is blank.", "messages")
    return RequestedTurn(text, tuple(each for each in spoken if each.text.strip()), system or None, reply_format)


def _text(message: ChatMessage, at: int) -> str:
    if message.role in ("tool", "function"):
        return ""
    if isinstance(message.content, str):
        return message.content
    parts = message.content or []
    for number, part in enumerate(parts):
        if part.type not in ("text", "refusal"):
            place = f"messages[{at}].content[{number}]"
            raise ChatError(
                400, "unsupported_message", f"Content parts of type {part.type} are not supported: send text.", place
            )
    return "".join(part.text or "" for part in parts)
