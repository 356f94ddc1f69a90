"""Variables that a page gives to a public chat. The page is not trusted: invalid or too large values are left out."""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json

from domain.agents.validation_errors import JsonCopy
from domain.dograh.lookup import RESERVED

MAX_VARIABLES: Final = 50
MAX_NAME_CHARACTERS: Final = 64
MAX_VALUE_CHARACTERS: Final = 2_000
"""A longer text is cut; a longer list or object is left out."""
MAX_TOTAL_BYTES: Final = 8_192
_NAME: Final = re.compile(r"[^.\s|{}]+")
"""Names that a template can contain."""


def visitor_context(given: Mapping[str, JsonValue] | None) -> dict[str, JsonValue]:
    """The variables that are kept: those with names that templates can contain, and within the limits."""
    kept: dict[str, JsonValue] = {}
    size = 0
    for written, value in (given or {}).items():
        if len(kept) == MAX_VARIABLES:
            break
        name, fitting = written.strip(), _cut(value)
        if not _is_usable(name, fitting):
            continue
        needed = len(name.encode()) + len(to_json(fitting))
        if size + needed <= MAX_TOTAL_BYTES:
            size += needed
            kept[name] = fitting
    return kept


def _cut(value: JsonValue) -> JsonValue:
    return value[:MAX_VALUE_CHARACTERS] if isinstance(value, str) else value


def _is_usable(name: str, value: JsonValue) -> bool:
    if name in RESERVED or len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name):
        return False
    if JsonCopy({name: value}).issues:  # it cannot be stored
        return False
    return not isinstance(value, list | dict) or len(to_json(value)) <= MAX_VALUE_CHARACTERS
