"""Parsing of chat completion requests: the message, the client's history, and parameters that are not supported."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.openai.errors import ChatError
from api.openai.parameters import require_supported
from api.openai.reply_options import read_reply_format
from api.openai.schemas import ChatMessage, ChatRequest
from domain.turns.turn import ReplyFormat


@dataclass(frozen=True)
class Exchange:
    """A user message and the agent's reply. Of a `partial` reply the client may have received less."""

    user: str
    agent: str
    partial: bool = False

    def matches(self, other: "Exchange") -> bool:
        """True when both have the same text; white space is ignored."""
        return _same(self.user, other.user) and (other.partial or _same(self.agent, other.agent))


@dataclass(frozen=True)
class RequestedTurn:
    """The turn that a request asks for.

    `text` is the user message, or None to get the greeting only; `history` are the exchanges before it as the client
    sent them, and `system` is the text of its system messages.
    """

    text: str | None
    history: tuple[Exchange, ...]
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
    dialogue = [(role, text) for role, text in texts if role in ("user", "assistant")]
    if dialogue and dialogue[-1][0] != "user" and any(role == "user" for role, _ in dialogue):
        message = "The last message is from the assistant: there is nothing to answer. Put a user message last."
        raise ChatError(400, "nothing_to_say", message, "messages")
    text = dialogue[-1][1] if dialogue and dialogue[-1][0] == "user" else None
    if text is not None and not text.strip():
        raise ChatError(400, "nothing_to_say", "The last user message is blank.", "messages")
    return RequestedTurn(text, tuple(_exchanges(dialogue[:-1])), system or None, reply_format)


def first_mismatch(history: Sequence[Exchange], recorded: Sequence[Exchange], *, is_complete: bool) -> Exchange | None:
    """The newest exchange of the client's history that differs from the recorded one at its position.

    Both are compared from the end: a client may omit the beginning, and `recorded` may lack it unless it
    `is_complete`. A client that interrupted a reply may omit that exchange.
    """
    position = len(recorded)
    for exchange in reversed(history):
        position -= 1
        while position >= 0 and recorded[position].partial and not _same(exchange.user, recorded[position].user):
            position -= 1
        if position < 0:
            return exchange if is_complete else None
        if not exchange.matches(recorded[position]):
            return exchange
    return None


def _exchanges(spoken: Sequence[tuple[str, str]]) -> list[Exchange]:
    """Pairs of what was said and answered. What nobody answered is no exchange, nor is a greeting."""
    found: list[Exchange] = []
    user: str | None = None
    for role, text in spoken:
        if role == "user":
            user = text
        elif user is not None:
            found.append(Exchange(user, text))
            user = None
        elif found:
            found[-1] = Exchange(found[-1].user, f"{found[-1].agent} {text}")
    return [exchange for exchange in found if exchange.agent.strip()]


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


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()
