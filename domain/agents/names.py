"""Valid names in agent definitions, and reserved names."""

import re

from domain.agents.validation_errors import Location, ValidationIssue, format_path, format_value

SECRETS_VARIABLE = "secrets"
"""Name of the template variable that contains credentials."""
UNPARSED_ARGUMENTS = "malformed"
"""Name of the argument that contains the text of arguments that are not valid JSON."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_RULE = "must start with a letter and have at most 64 letters, digits, _ or -"


def name_issues(location: Location, name: str) -> list[ValidationIssue]:
    """An issue if the name is invalid."""
    if _NAME.fullmatch(name):
        return []
    return [ValidationIssue(path=format_path(location), message=f"the name {format_value(name)} {_RULE}")]
