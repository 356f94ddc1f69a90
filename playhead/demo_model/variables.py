"""How the offline demo model reads variables from a conversation: by the kind of detail their names ask for."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from playhead.demo_model.prompt_parser import kind_of
from playhead.demo_model.slot_filling import Line, recall

_DIGITS = re.compile(r"\d+(?:\.\d+)?")


def variables_in(schema: Mapping[str, Any], lines: Sequence[Line]) -> dict[str, str | float]:
    """The variables of a JSON schema that the person told; what was not said is left out."""
    details = recall(lines).details
    found: dict[str, str | float] = {}
    for name, wanted in schema.get("properties", {}).items():
        asked = f"{name.replace('_', ' ')} {wanted.get('description', '')}"
        told = details.get(str(kind_of(name.replace("_", " ")))) or details.get(str(kind_of(asked)))
        value = _typed(wanted.get("type", "string"), told)
        if value is not None:
            found[name] = value
    return found


def _typed(kind: str, told: str | None) -> str | float | None:
    if told is None or kind == "string":
        return told
    digits = _DIGITS.search(told)
    return float(digits[0]) if kind == "number" and digits else None
