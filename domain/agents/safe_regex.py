"""Untrusted regular expressions, matched in time linear in the text; others are not supported."""

from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema


class UnsupportedRegex(ValueError):
    """A regular expression that is malformed, too large, or uses look-around or back-references."""


def matches(pattern: str, text: str) -> bool:
    """True if the pattern is found anywhere in the text. Raises UnsupportedRegex."""
    validator = _compiled(pattern)
    if validator is None:
        raise UnsupportedRegex(pattern)
    try:
        validator.validate_python(text)
    except ValidationError:
        return False
    return True


def is_supported_regex(pattern: str) -> bool:
    """True if `matches` supports this pattern."""
    return _compiled(pattern) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> SchemaValidator | None:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None
