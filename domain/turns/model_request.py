"""The request of a model call as it was sent: its frame, its messages, and the digest of both.

The messages of a request are those of the steps before it, which are saved anyway. Only its frame (instructions, tools
and settings) is kept beside them, and the digest of the whole, which shows whether a rebuilt request equals the one
that was sent.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from pydantic import JsonValue

from domain.agents.definition import Node
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.templates import Insertion
from domain.agents.tools import OfferedTool
from domain.durable import FrozenModel
from domain.turns.turn import AgentSaid, Message, ToolReturned, UserSaid

RequestPurpose = Literal["turn", "extraction"]
TokenCount = Literal["provider", "estimate"]
"""Origin of a number of tokens: figures that a provider reported, or an estimate from the length of the text."""
OPENING_CUE = "(The conversation begins. The user has not said anything yet.)"
"""The first user message of a conversation that the agent begins: several providers require one."""
NO_ARGUMENTS_SCHEMA: dict[str, JsonValue] = {"type": "object", "properties": {}}
"""The JSON schema of a transition's arguments."""

MessageRole = Literal["system", "user", "assistant", "tool"]


class RequestedTool(FrozenModel):
    """A tool that was offered. A transition leads `to` a node."""

    name: str
    kind: Literal["tool", "transition"]
    description: str
    parameters: dict[str, JsonValue] = {}
    to: str | None = None


class RequestFrame(FrozenModel):
    """A request without its messages. `insertions` are the places of the instructions that came from variables.

    `asked` is the last user message of an extraction, which is not part of the conversation.
    """

    purpose: RequestPurpose
    instructions: str
    insertions: tuple[Insertion, ...] = ()
    tools: tuple[RequestedTool, ...] = ()
    settings: dict[str, JsonValue] = {}
    asked: str | None = None

    @property
    def digest(self) -> str:
        """The SHA-256 of the frame, in hex."""
        return _sha256_of(self.model_dump_json())


class RequestedCall(FrozenModel):
    """A tool call in a message."""

    id: str
    name: str
    arguments: dict[str, JsonValue] = {}


class RequestMessage(FrozenModel):
    """A message of a request, in the words that were sent."""

    role: MessageRole
    content: str
    tool_calls: tuple[RequestedCall, ...] = ()
    tool_call_id: str | None = None

    @cached_property
    def json_text(self) -> str:
        """The message as JSON, for digests: every request contains those of earlier steps again."""
        return self.model_dump_json()


class PlacedMessage(NamedTuple):
    """A message of a request, with the turn it belongs to, if any. `is_new` is false for those of earlier steps."""

    message: RequestMessage
    turn_id: str | None
    is_new: bool


class SentRequest(FrozenModel):
    """The data of a saved step that, with its frame, rebuild its request and compare it with the one that was sent.

    `digest` is the SHA-256 of the whole request in hex, `new` the number of the step's own messages that were sent,
    `budget` the characters of earlier turns that were allowed, and `attempts` counts the attempts at the call.

    `turns` is the number of earlier turns that were sent, and `left_out` that of those before them (None where it is
    not known). `size` are the bytes of the request as counted in `domain/turns/context_window.py`, `tokens` the
    tokens expected for them, out of `max_tokens`. All are None in older steps. `summary` is the digest of the
    step up to which a summary stood in for the conversation, and `summary_turn_id` the turn of that step.
    """

    digest: str
    new: int
    budget: int
    attempts: int = 1
    turns: int | None = None
    left_out: int | None = None
    size: int | None = None
    tokens: int | None = None
    max_tokens: int | None = None
    counted_by: TokenCount | None = None
    summary: str | None = None
    summary_turn_id: str | None = None


class KeptRequest(NamedTuple):
    """The record of the request of one step. `frame` is None where an earlier step has one with the same digest."""

    sent: SentRequest
    frame_digest: str
    frame: RequestFrame | None


def frame_of_turn(
    node: Node,
    instructions: tuple[str, tuple[Insertion, ...]],
    tools: Iterable[OfferedTool],
    settings: Mapping[str, JsonValue],
) -> RequestFrame:
    """The frame of a call that answers the user at a node; `tools` are all that are offered there."""
    text, insertions = instructions
    leads_to = {each.tool_name: each.to for each in node.transitions}
    return RequestFrame(
        purpose="turn",
        instructions=text,
        insertions=insertions,
        tools=tuple(
            RequestedTool(
                name=tool.name,
                kind="transition" if tool.name in leads_to else "tool",
                description=tool.description,
                parameters=dict(tool.parameters),
                to=leads_to.get(tool.name),
            )
            for tool in tools
        ),
        settings=dict(settings),
    )


def frame_of_call(instructions: str, tools: Iterable[OfferedTool], settings: Mapping[str, JsonValue]) -> RequestFrame:
    """The frame of a call that belongs to no node of an agent."""
    requested = (
        RequestedTool(name=tool.name, kind="tool", description=tool.description, parameters=dict(tool.parameters))
        for tool in tools
    )
    return RequestFrame(purpose="turn", instructions=instructions, tools=tuple(requested), settings=dict(settings))


def frame_of_extraction(
    instructions: str, asked: str, tool: OfferedTool, settings: Mapping[str, JsonValue]
) -> RequestFrame:
    """The frame of a call that reads variables with a tool that the model must call."""
    requested = RequestedTool(
        name=tool.name, kind="tool", description=tool.description, parameters=dict(tool.parameters)
    )
    return RequestFrame(
        purpose="extraction", instructions=instructions, tools=(requested,), settings=dict(settings), asked=asked
    )


def transitions_offered(node: Node) -> tuple[OfferedTool, ...]:
    """The transitions of a node as the model sees them."""
    return tuple(
        OfferedTool(name=each.tool_name, description=each.when, parameters=NO_ARGUMENTS_SCHEMA)
        for each in node.transitions
    )


def messages_to_send(messages: Iterable[Message]) -> tuple[RequestMessage, ...]:
    """The new messages of a step, as they are sent."""
    return tuple(map(_message_to_send, messages))


def messages_of(
    frame: RequestFrame, earlier: Iterable[tuple[str, str]], own: Iterable[tuple[str, RequestMessage]]
) -> list[PlacedMessage]:
    """The messages of a request, as providers get them: those of the saved steps before it, and its own.

    Both come with the id of their turn. An extraction gets only the text of the conversation, and then the message
    that asks for the variables. A conversation that the agent begins gets a user message first.
    """
    before = [
        PlacedMessage(message, turn_id, is_new=False) for turn_id, saved in earlier for message in saved_messages(saved)
    ]
    placed = [*before, *(PlacedMessage(message, turn_id, is_new=True) for turn_id, message in own)]
    if frame.purpose == "extraction":
        asked = RequestMessage(role="user", content=frame.asked or "")
        spoken = [each for each in before if each.message.role in ("user", "assistant") and each.message.content]
        placed = [each._replace(message=_words_of(each.message)) for each in spoken]
        placed.append(PlacedMessage(asked, None, is_new=True))
    if not placed or placed[0].message.role == "assistant":
        cue = RequestMessage(role="user", content=OPENING_CUE)
        placed.insert(0, PlacedMessage(cue, None, is_new=not before))
    return placed


def digest_of_request(frame: RequestFrame, earlier: Sequence[str], own: Sequence[RequestMessage]) -> str:
    """The digest of the request that `messages_of` builds, from the cached text of each earlier step."""
    if frame.purpose == "extraction":
        placed = messages_of(frame, (("", saved) for saved in earlier), (("", message) for message in own))
        return request_digest(frame, placed)
    texts = [text for text in map(_saved_text, earlier) if text]
    first = next((messages[0] for messages in map(saved_messages, earlier) if messages), own[0] if own else None)
    if first is None or first.role == "assistant":
        texts.insert(0, RequestMessage(role="user", content=OPENING_CUE).json_text)
    return _sha256_of(frame.model_dump_json(), *texts, *(message.json_text for message in own))


@lru_cache(maxsize=8192)
def _saved_text(saved: str) -> str:
    """The messages of a saved step as digests include them."""
    return "\n".join(message.json_text for message in saved_messages(saved))


def request_digest(frame: RequestFrame, messages: Iterable[PlacedMessage]) -> str:
    """The SHA-256 of a whole request, in hex."""
    return _sha256_of(frame.model_dump_json(), *(each.message.json_text for each in messages))


@lru_cache(maxsize=8192)
def saved_messages(saved: str) -> tuple[RequestMessage, ...]:
    """The messages of a saved step: its own, and the model's reply last. Cached: every step reads those before it."""
    found: list[RequestMessage] = []
    for message in _objects(json.loads(saved)):
        parts = _objects(message.get("parts"))
        if message.get("kind") == "response":
            found += _of_response(parts)
        else:
            found += [_of_part(part) for part in parts]
    return tuple(found)


def saved_response(saved: str) -> dict[str, Any] | None:
    """The model's reply in a saved step, as the provider gave it; None where it was not kept."""
    messages = _objects(json.loads(saved))
    return messages[-1] if messages and messages[-1].get("kind") == "response" else None


def _message_to_send(message: Message) -> RequestMessage:
    match message:
        case UserSaid():
            return RequestMessage(role="user", content=message.text)
        case AgentSaid():
            return RequestMessage(role="assistant", content=message.text)
        case ToolReturned():
            return RequestMessage(role="tool", content=message.content, tool_call_id=message.call_id)


def _words_of(message: RequestMessage) -> RequestMessage:
    return RequestMessage(role=message.role, content=message.content)


def _of_part(part: Mapping[str, Any]) -> RequestMessage:
    kind, content = part.get("part_kind"), _text(part.get("content"))
    if kind == "tool-return":
        return RequestMessage(role="tool", content=content, tool_call_id=str(part.get("tool_call_id")))
    return RequestMessage(role="system" if kind == "system-prompt" else "user", content=content)


def _of_response(parts: Sequence[Mapping[str, Any]]) -> list[RequestMessage]:
    if not parts:
        return []
    return [
        RequestMessage(
            role="assistant",
            content="".join(_text(part.get("content")) for part in parts if part.get("part_kind") == "text"),
            tool_calls=tuple(
                RequestedCall(
                    id=str(part.get("tool_call_id")),
                    name=str(part.get("tool_name")),
                    arguments=_arguments(part.get("args")),
                )
                for part in parts
                if part.get("part_kind") == "tool-call"
            ),
        )
    ]


def _arguments(written: object) -> dict[str, JsonValue]:
    if isinstance(written, str):
        try:
            written = json.loads(written or "{}")
        except ValueError:
            return {UNPARSED_ARGUMENTS: str(written)}
    return dict(written) if isinstance(written, dict) else {}


def _objects(values: object) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _text(content: object) -> str:
    return content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False)


def _sha256_of(*texts: str) -> str:
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
