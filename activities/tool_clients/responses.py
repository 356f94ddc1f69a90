"""What a service answered, made fit for the model, for the context and for the store."""

import json
import re
from collections.abc import Mapping

import httpx2
from pydantic import JsonValue

from activities.network.secrets import Redactor
from activities.tool_clients.interface import ToolFailed
from domain.agents import templates

MAX_CHARACTERS = 16_000
"""What the model is told of one answer; every later step of the conversation reads it again."""
MAX_CHARACTERS_KEPT = 32_000
"""What the context may keep of one answer, as JSON: it travels with every step."""
DEEPEST = 40
"""Levels of nesting that everything an answer passes through can read."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def parsed(text: str) -> JsonValue:
    """The JSON value of a text. Raises ValueError for what is none, or is one that cannot be kept."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        return _storable(value, DEEPEST)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def storable(text: str) -> str:
    """The text without characters that a database or JSON cannot hold."""
    return _UNSTORABLE.sub("\ufffd", text)


def as_content(text: str, redactor: Redactor) -> str:
    """A text for the model: without credentials, and cut with a note when it is long."""
    shown = redactor.text(storable(text))
    if len(shown) <= MAX_CHARACTERS:
        return shown
    left_out = len(shown) - MAX_CHARACTERS
    return f"{shown[:MAX_CHARACTERS]}\n[The answer goes on; {left_out:,} more characters are left out here.]"


def as_json(value: JsonValue) -> str:
    """A JSON value in few characters."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def assigned(answer: JsonValue, paths: Mapping[str, str], redactor: Redactor) -> dict[str, JsonValue]:
    """The context variables that take a part of an answer; None where the answer has no such part.

    Raises ToolFailed when they are too large to keep.
    """
    values = {name: redactor.value(_part(answer, path)) for name, path in paths.items()}
    size = len(as_json(dict(values)))
    if size > MAX_CHARACTERS_KEPT:
        raise ToolFailed(
            "too_large",
            f"The call was made, but {size:,} characters of its answer were to be kept, and at most "
            f"{MAX_CHARACTERS_KEPT:,} can be.",
        )
    return values


def _part(answer: JsonValue, path: str) -> JsonValue:
    whole = {"answer": answer}
    found = templates.lookup(whole, ("answer", *path.split("."))) if path else answer
    return found if found is None or isinstance(found, str | int | float | list | dict) else None


def _storable(value: object, levels: int) -> JsonValue:
    if levels < 0:
        raise ValueError("it is nested too deeply")
    match value:
        case str():
            return storable(value)
        case list():
            return [_storable(part, levels - 1) for part in value]
        case dict():
            return {storable(str(key)): _storable(part, levels - 1) for key, part in value.items()}
        case None | bool() | int() | float():
            return value
        case _:
            raise ValueError("it is no JSON")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def check_encoding(answer: httpx2.Response) -> None:
    """Refuse a compressed answer: it may be thousands of times larger than it looks. Raises ToolFailed."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        message = f"The service answered in the compressed form {encoding[:40]!r}, which it was asked not to use."
        raise ToolFailed("not_text", message, status=answer.status_code)
