"""Converts service responses to storable JSON, to content for the model and to context variables."""

import json
import re
from collections.abc import Mapping

import httpx2
from pydantic import JsonValue

from activities.network.secrets import Redactor
from activities.tool_clients.interface import ToolFailed
from domain.agents import templates

MAX_CONTENT_CHARACTERS = 16_000
"""Upper bound on one tool result; every later step of the conversation reads it again."""
MAX_ASSIGNED_CHARACTERS = 32_000
"""Upper bound on the variables assigned from one response, as JSON: they are sent with every step."""
MAX_JSON_DEPTH = 40
"""Levels of nesting that every JSON reader in the path of a response supports."""

_UNSTORABLE_CHARACTERS = re.compile("[\x00\ud800-\udfff]")


def parse_json(text: str) -> JsonValue:
    """Parse JSON. Raises ValueError for invalid JSON and for a value that cannot be stored."""
    try:
        value = json.loads(text, parse_constant=_reject_constant)
        return _check_storable(value, MAX_JSON_DEPTH)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def replace_unstorable(text: str) -> str:
    """The text with NUL and lone surrogates replaced, which a database or JSON cannot hold."""
    return _UNSTORABLE_CHARACTERS.sub("\ufffd", text)


def to_content(text: str, redactor: Redactor) -> str:
    """A text for the model: credentials redacted, and truncated with a note if it is too long."""
    shown = redactor.redact_text(replace_unstorable(text))
    if len(shown) <= MAX_CONTENT_CHARACTERS:
        return shown
    left_out = len(shown) - MAX_CONTENT_CHARACTERS
    return f"{shown[:MAX_CONTENT_CHARACTERS]}\n[The answer goes on; {left_out:,} more characters are left out here.]"


def compact_json(value: JsonValue) -> str:
    """JSON without optional white space."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def assigned_variables(answer: JsonValue, paths: Mapping[str, str], redactor: Redactor) -> dict[str, JsonValue]:
    """The context variables assigned from a response; None for a path that the response does not have.

    Raises ToolFailed if they are larger than MAX_ASSIGNED_CHARACTERS.
    """
    values = {name: redactor.redact_value(_value_at(answer, path)) for name, path in paths.items()}
    size = len(compact_json(dict(values)))
    if size > MAX_ASSIGNED_CHARACTERS:
        raise ToolFailed(
            "too_large",
            f"The call was made, but {size:,} characters of its answer were to be kept, and at most "
            f"{MAX_ASSIGNED_CHARACTERS:,} can be.",
        )
    return values


def _value_at(answer: JsonValue, path: str) -> JsonValue:
    whole = {"answer": answer}
    found = templates.lookup(whole, ("answer", *path.split("."))) if path else answer
    return found if found is None or isinstance(found, str | int | float | list | dict) else None


def _check_storable(value: object, levels: int) -> JsonValue:
    if levels < 0:
        raise ValueError("it is nested too deeply")
    match value:
        case str():
            return replace_unstorable(value)
        case list():
            return [_check_storable(part, levels - 1) for part in value]
        case dict():
            return {replace_unstorable(str(key)): _check_storable(part, levels - 1) for key, part in value.items()}
        case None | bool() | int() | float():
            return value
        case _:
            raise ValueError("it is not valid JSON")


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")


def check_encoding(answer: httpx2.Response) -> None:
    """Reject a compressed response, which could expand beyond any limit. Raises ToolFailed."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        message = f"The service answered with the content encoding {encoding[:40]!r}, which the request excludes."
        raise ToolFailed("not_text", message, status=answer.status_code)
