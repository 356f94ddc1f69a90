"""Disposition and tags of a session, by which clients of dograh classify conversations."""

from typing import Final

from pydantic import JsonValue

QUALIFIED: Final = "user_qualified"
"""The disposition of a conversation that reached an end node."""


AGENTS_OWN_ENDS: Final = frozenset({"end_node"})
"""Completion reasons of sessions that their agents ended."""


def disposition_of(completion_reason: str | None) -> str | None:
    """The completion reason, or `QUALIFIED` for an end node. None until the session ends."""
    return QUALIFIED if completion_reason == "end_node" else completion_reason


def tags_of(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> tuple[str, ...]:
    """The tags gathered as `call_tags`, followed by the disposition unless it is among them."""
    gathered = tuple(tag for tag in _gathered(gathered_context) if isinstance(tag, str))
    disposition = _learned(gathered_context, completion_reason) or disposition_of(completion_reason)
    return gathered if disposition is None or disposition in gathered else (*gathered, disposition)


def with_disposition(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> dict[str, JsonValue]:
    """The gathered context for clients of dograh: after the end it includes the disposition.

    At an end node a disposition that the conversation gave wins. `call_status` is how the session ended, in any case.
    """
    status = disposition_of(completion_reason)
    if status is None:
        return gathered_context
    disposition = _learned(gathered_context, completion_reason) or status
    tags = _gathered(gathered_context)
    return {
        **gathered_context,
        "call_status": status,
        "call_disposition": disposition,
        "mapped_call_disposition": disposition,
        "call_tags": tags if disposition in tags else [*tags, disposition],
    }


def _learned(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> str | None:
    """The disposition gathered as `call_disposition`, which counts if the agent ended the session itself."""
    learned = gathered_context.get("call_disposition")
    is_own_end = completion_reason in AGENTS_OWN_ENDS
    return learned.strip() or None if is_own_end and isinstance(learned, str) else None


def _gathered(gathered_context: dict[str, JsonValue]) -> list[JsonValue]:
    tags = gathered_context.get("call_tags")
    return tags if isinstance(tags, list) else []
