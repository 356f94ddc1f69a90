"""The form that names in an agent have, and the names that mean something already."""

import re

from domain.agents.validation_errors import Location, ValidationIssue, format_path, format_value

SECRETS_VARIABLE = "secrets"
"""The name under which the templates of tools find credentials."""
UNPARSED_ARGUMENTS = "malformed"
"""The argument in which a call arrives whose arguments were no JSON."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_RULE = "must start with a letter and have at most 64 letters, digits, _ or -"


def name_issues(location: Location, name: str) -> list[ValidationIssue]:
    """The issue of a name that has not the one form, if it has not."""
    if _NAME.fullmatch(name):
        return []
    return [ValidationIssue(path=format_path(location), message=f"the name {format_value(name)} {_RULE}")]
