"""What a request of the chat protocol means: what is to be said, after what, and what of it cannot be done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from api.openai.errors import ChatError
from api.openai.schemas import UNUSED, ChatMessage, ChatRequest

SYSTEM_MESSAGE: Final = "system_message"
"""The template variable in which a new session finds the client's system messages."""

_OWN_TOOLS: Final = "the agent calls its own tools, and their calls stay inside it"
_REFUSED: Final[Mapping[str, tuple[str, Callable[[JsonValue], bool]]]] = {
    "audio": ("replies are text", lambda value: False),
    "function_call": (_OWN_TOOLS, lambda value: value in ("none", "auto")),
    "functions": (_OWN_TOOLS, lambda value: value == []),
    "logit_bias": ("how the model is asked is the agent's business", lambda value: value == {}),
    "logprobs": ("there are none to tell", lambda value: value is False),
    "modalities": ("replies are text", lambda value: value == ["text"]),
    "n": ("a session goes on with one reply", lambda value: value == 1),
    "prediction": ("how the model is asked is the agent's business", lambda value: False),
    "response_format": ("an agent speaks; it has no format", lambda value: value == {"type": "text"}),
    "stop": ("a reply is recorded as the agent said it, and is not cut", lambda value: value == []),
    "tool_choice": (_OWN_TOOLS, lambda value: value in ("none", "auto")),
    "tools": (_OWN_TOOLS, lambda value: value == []),
    "top_logprobs": ("there are none to tell", lambda value: value == 0),
    "web_search_options": (_OWN_TOOLS, lambda value: False),
}
"""Parameters that would change what is done: why they are refused, and the values that change nothing."""


@dataclass(frozen=True)
class Exchange:
    """What the user said and the agent answered. Of a `partial` answer nobody knows how much a client has heard."""

    user: str
    agent: str
    partial: bool = False

    def is_said_in(self, other: "Exchange") -> bool:
        """Whether both are the same to a reader; how the words are spaced does not matter."""
        return _same(self.user, other.user) and (other.partial or _same(self.agent, other.agent))


@dataclass(frozen=True)
class RequestedTurn:
    """A request, read.

    `say` is the message, or None to be greeted only; `believed` are the exchanges that the client thinks went before
    it, and `system` is what it wants the agent to be.
    """

    say: str | None
    believed: tuple[Exchange, ...]
    system: str | None


def read_request(request: ChatRequest) -> RequestedTurn:
    """What a request means. Raises ChatError for what cannot be done."""
    for name, value in request.others.items():
        _require_harmless(name, value)
    said = [(message.role, _text(message, at)) for at, message in enumerate(request.messages)]
    system = "\n\n".join(text for role, text in said if role in ("system", "developer") and text)
    spoken = [(role, text) for role, text in said if role in ("user", "assistant")]
    if spoken and spoken[-1][0] != "user" and any(role == "user" for role, _ in spoken):
        message = (
            "The last message is the assistant's: there is nothing to answer. Replies cannot be begun by the client."
        )
        raise ChatError(400, "nothing_to_say", message, "messages")
    say = spoken[-1][1] if spoken and spoken[-1][0] == "user" else None
    if say is not None and not say.strip():
        raise ChatError(400, "nothing_to_say", "The last user message is blank.", "messages")
    return RequestedTurn(say, tuple(_exchanges(spoken[:-1])), system or None)


def contradiction(believed: Sequence[Exchange], held: Sequence[Exchange], *, is_whole: bool) -> Exchange | None:
    """The newest exchange that a client believes in and the session does not hold in its place.

    Both are compared from the end: a client may have forgotten the beginning, and so may `held`, unless it `is_whole`.
    A client that broke off a reply may leave the exchange out.
    """
    place = len(held)
    for exchange in reversed(believed):
        place -= 1
        while place >= 0 and held[place].partial and not _same(exchange.user, held[place].user):
            place -= 1
        if place < 0:
            return exchange if is_whole else None
        if not exchange.is_said_in(held[place]):
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
    if message.role in ("tool", "function") or (message.model_extra or {}).get("tool_calls"):
        raise ChatError(
            400, "unsupported_message", f"There is no place for tool calls: {_OWN_TOOLS}.", f"messages[{at}]"
        )
    if isinstance(message.content, str):
        return message.content
    parts = message.content or []
    for number, part in enumerate(parts):
        if part.type not in ("text", "refusal"):
            place = f"messages[{at}].content[{number}]"
            raise ChatError(
                400, "unsupported_message", f"A part of type {part.type} cannot be said: only text can.", place
            )
    return "".join(part.text or "" for part in parts)


def _require_harmless(name: str, value: JsonValue) -> None:
    if value is None or name in UNUSED:
        return
    why, is_harmless = _REFUSED.get(name, ("it is not known here", lambda _: False))
    if not is_harmless(value):
        raise ChatError(400, "unsupported_parameter", f"{name} cannot be used with a session: {why}.", name)


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()
