"""Variable extraction by the demo model: values by the kind of detail that a variable's name asks for."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from playhead.demo_model.prompt_parser import kind_of
from playhead.demo_model.slot_filling import Line, collect_details

_DIGITS = re.compile(r"\d+(?:\.\d+)?")


def extract_variables(schema: Mapping[str, Any], lines: Sequence[Line]) -> dict[str, str | float]:
    """Values for the variables of a JSON schema, from the user's messages; unknown ones are left out."""
    details = collect_details(lines).details
    found: dict[str, str | float] = {}
    for name, wanted in schema.get("properties", {}).items():
        asked = f"{name.replace('_', ' ')} {wanted.get('description', '')}"
        detail = details.get(str(kind_of(name.replace("_", " ")))) or details.get(str(kind_of(asked)))
        value = _typed(wanted.get("type", "string"), detail)
        if value is not None:
            found[name] = value
    return found


def _typed(kind: str, detail: str | None) -> str | float | None:
    if detail is None or kind == "string":
        return detail
    digits = _DIGITS.search(detail)
    return float(digits[0]) if kind == "number" and digits else None
