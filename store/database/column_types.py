"""Column types that behave the same on SQLite and PostgreSQL: text, times in UTC, JSON documents."""

import json
from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

REPLACEMENT = "\ufffd"


class CleanText(TypeDecorator[str]):
    """Text without NUL, which PostgreSQL cannot hold: it is stored, and looked for, as U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value.replace("\x00", REPLACEMENT) if value is not None and "\x00" in value else value


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: goes in with a time zone, comes out in UTC. Raises ValueError for a time without a zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; the store keeps moments, not clock faces")
        try:
            moment = value.astimezone(UTC)
        except OverflowError:  # within a day of the first or last moment there is: its zone does not matter
            moment = value.replace(tzinfo=UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A small JSON document that people may query. The order of its keys is not kept by PostgreSQL."""

Number = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit integer; as a primary key it numbers rows by itself on both databases."""
MAX_NUMBER = 2**63 - 1


def dump_document(value: object) -> str:
    """JSON for a `Document` column; the characters that JSONB refuses (NUL, half a surrogate pair) become U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if "\\u0000" in text or not _is_encodable(text):
        text = json.dumps(_clean(value), ensure_ascii=False, separators=(",", ":"))
    return text


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\x00", REPLACEMENT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_clean(key): _clean(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(entry) for entry in value]
    return value
