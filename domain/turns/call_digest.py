"""Digests of model and tool calls: a stored result is used only for the same call.

A workflow that was reset, or a Temporal server that was restored from an older copy, generates the same ids again as an
earlier course of the conversation. A result that was paid for there must not be used for a different call here.
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
    for that one; `instructions` is the result of `instructions_digest`.
    """
    call = [after, turn_id, step, agent_id, agent_version, model, node_id]
    form = () if reply_format is None else (json.dumps(reply_format.model_dump(), sort_keys=True),)
    tools = (json.dumps(["withheld", *withheld]),) if withheld else ()
    shown = (json.dumps(["instructions", instructions]),) if instructions else ()
    return digest_of(json.dumps(call), _MESSAGES.dump_json(messages).decode(), *form, *tools, *shown)


def instructions_digest(instructions: str, as_opened: str) -> str:
    """A digest of the instructions of a model call; empty where they are those that the session was opened with.

    The agent's version, the node and the initial context determine those. Every other value in them can differ when the
    turn is answered again: one that was fetched, one that a tool or the model found, the time.
    """
    return digest_of(instructions) if instructions != as_opened else ""


def tool_digest(after: str, tool: str, arguments: Mapping[str, JsonValue]) -> str:
    """The digest of one tool call: the model call that asked for it, the tool's name and its arguments."""
    return digest_of(after, tool, json.dumps(arguments, sort_keys=True))


def digest_of(*parts: str) -> str:
    """A digest of texts, which also depends on where each of them ends."""
    return urlsafe_b64encode(_sha256_of(parts)[:DIGEST_BYTES]).decode()


def hex_digest_of(*parts: str) -> str:
    """The same as 64 hexadecimal digits."""
    return _sha256_of(parts).hex()


def _sha256_of(parts: Sequence[str]) -> bytes:
    lengths = ",".join(str(len(part)) for part in parts)
    return sha256("\n".join((lengths, *parts)).encode("utf-8", "surrogatepass")).digest()
