"""Disposition and tags of a session, by which clients of dograh classify conversations."""

from typing import Final

from pydantic import JsonValue

WORDS: Final = {"end_node": "user_qualified", "end_tool": "end_call_tool", "handed_over": "call_transferred"}
"""The words of dograh for the ways in which agents end their sessions."""


def disposition_of(completion_reason: str | None) -> str | None:
    """The word for how the session ended. None until it ends."""
    return None if completion_reason is None else WORDS.get(completion_reason, completion_reason)


def disposition_in(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> str | None:
    """The gathered disposition if the agent ended the session, or else the word for how it ended. None until then."""
    return _learned(gathered_context, completion_reason) or disposition_of(completion_reason)


def tags_of(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> tuple[str, ...]:
    """The tags gathered as `call_tags`, followed by the disposition unless it is among them."""
    tags = _with_ending(_gathered(gathered_context), gathered_context, completion_reason)
    return tuple(tag for tag in tags if isinstance(tag, str))


def with_disposition(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> dict[str, JsonValue]:
    """The gathered context for clients of dograh: after the end it includes the disposition.

    The gathered disposition takes precedence if the agent ended the session. `call_status` is always the word for how
    the session ended.
    """
    disposition = disposition_in(gathered_context, completion_reason)
    if disposition is None:
        return gathered_context
    return {
        **gathered_context,
        "call_status": disposition_of(completion_reason),
        "call_disposition": disposition,
        "mapped_call_disposition": disposition,
        "call_tags": _with_ending(_gathered(gathered_context), gathered_context, completion_reason),
    }


def _with_ending(
    tags: list[JsonValue], gathered_context: dict[str, JsonValue], completion_reason: str | None
) -> list[JsonValue]:
    """The tags, the word of a tool that ended the session, and the disposition."""
    tool = disposition_of(completion_reason) if completion_reason == "end_tool" else None
    added = (tool, disposition_in(gathered_context, completion_reason))
    return [*tags, *dict.fromkeys(word for word in added if word is not None and word not in tags)]


def _learned(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> str | None:
    """The disposition gathered as `call_disposition`, which counts if the agent ended the session itself."""
    learned = gathered_context.get("call_disposition")
    is_own_end = completion_reason in WORDS
    return learned.strip() or None if is_own_end and isinstance(learned, str) else None


def _gathered(gathered_context: dict[str, JsonValue]) -> list[JsonValue]:
    tags = gathered_context.get("call_tags")
    return tags if isinstance(tags, list) else []
