"""Digests of model and tool calls: a stored result counts only for the call that was asked.

A workflow that was reset, or a Temporal that was restored from an older copy, draws the ids again that an earlier
course of the conversation had drawn. What was paid for there must not answer something else here.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256

from pydantic import JsonValue, TypeAdapter

from domain.turns.turn import Message, ReplyFormat

DIGEST_BYTES = 9
"""Bytes of a digest: 12 characters, which stand in every step's history and distinguish the steps of one session."""

_MESSAGES: TypeAdapter[Sequence[Message]] = TypeAdapter(Sequence[Message])


def step_digest(
    *,
    after: str,
    turn_id: str,
    step: int,
    agent_id: str,
    agent_version: int,
    model: str,
    node_id: str,
    messages: Sequence[Message],
    reply_format: ReplyFormat | None = None,
    withheld: Sequence[str] = (),
    instructions: str = "",
) -> str:
    """The digest of one model call: the digest of the call before it, and all that is new in this one.

    Equal digests mean equal conversations: the chain goes back to the first call of the session. `after` is empty
    for that one, `instructions` is what `instructions_digest` makes of them.
    """
    call = [after, turn_id, step, agent_id, agent_version, model, node_id]
    form = () if reply_format is None else (json.dumps(reply_format.model_dump(), sort_keys=True),)
    tools = (json.dumps(["withheld", *withheld]),) if withheld else ()
    shown = (json.dumps(["instructions", instructions]),) if instructions else ()
    return digest_of(json.dumps(call), _MESSAGES.dump_json(messages).decode(), *form, *tools, *shown)


def instructions_digest(instructions: str, as_opened: str) -> str:
    """A digest of the instructions of a model call; empty where they are those that the session was opened with.

    Version of the agent, node and what the caller brought at the opening say what those are. All else in them can be
    another value when the turn is answered again: a fetched one, one that a tool or the model found, the time.
    """
    return digest_of(instructions) if instructions != as_opened else ""


def tool_digest(after: str, tool: str, arguments: Mapping[str, JsonValue]) -> str:
    """The digest of one tool call: the model call that asked for it, the tool's name and its arguments."""
    return digest_of(after, tool, json.dumps(arguments, sort_keys=True))


def digest_of(*parts: str) -> str:
    """A digest of texts, in which no text can be taken for two."""
    return urlsafe_b64encode(_sha256_of(parts)[:DIGEST_BYTES]).decode()


def hex_digest_of(*parts: str) -> str:
    """The same as 64 hexadecimal digits."""
    return _sha256_of(parts).hex()


def _sha256_of(parts: Sequence[str]) -> bytes:
    lengths = ",".join(str(len(part)) for part in parts)
    return sha256("\n".join((lengths, *parts)).encode("utf-8", "surrogatepass")).digest()
