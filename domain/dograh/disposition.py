"""How a session came to its end, in the words that clients of dograh sort conversations by: disposition and tags."""

from typing import Final

from pydantic import JsonValue

QUALIFIED: Final = "user_qualified"
"""The disposition of a conversation that came to an end node."""


def disposition_of(completion_reason: str | None) -> str | None:
    """The reason why a session ended, but for an end node, which has a name of its own. None while it goes on."""
    return QUALIFIED if completion_reason == "end_node" else completion_reason


def tags_of(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> tuple[str, ...]:
    """The tags that were gathered as `call_tags`, and the disposition behind them unless it is among them."""
    gathered = tuple(tag for tag in _gathered(gathered_context) if isinstance(tag, str))
    disposition = disposition_of(completion_reason)
    return gathered if disposition is None or disposition in gathered else (*gathered, disposition)


def with_disposition(gathered_context: dict[str, JsonValue], completion_reason: str | None) -> dict[str, JsonValue]:
    """The gathered context as clients of dograh read it: once the session has ended, with how it ended."""
    disposition = disposition_of(completion_reason)
    if disposition is None:
        return gathered_context
    tags = _gathered(gathered_context)
    return {
        **gathered_context,
        "call_disposition": disposition,
        "mapped_call_disposition": disposition,
        "call_tags": tags if disposition in tags else [*tags, disposition],
    }


def _gathered(gathered_context: dict[str, JsonValue]) -> list[JsonValue]:
    tags = gathered_context.get("call_tags")
    return tags if isinstance(tags, list) else []
