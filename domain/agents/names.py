"""The form that names in an agent have, and the names that mean something already."""

import re

from domain.agents.validation_errors import Location, ValidationIssue, place_of, shown

SECRETS = "secrets"
"""The name under which the templates of tools find credentials."""
UNPARSED = "malformed"
"""The argument in which a call arrives whose arguments were no JSON."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_RULE = "must start with a letter and have at most 64 letters, digits, _ or -"


def name_faults(location: Location, name: str) -> list[ValidationIssue]:
    """The fault of a name that has not the one form, if it has not."""
    if _NAME.fullmatch(name):
        return []
    return [ValidationIssue(place=place_of(location), message=f"the name {shown(name)} {_RULE}")]
