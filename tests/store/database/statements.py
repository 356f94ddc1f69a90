"""Counts the statements sent to a database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from store.database.connection import Database


@contextmanager
def counted_statements(database: Database) -> Iterator[list[str]]:
    """The SQL that is sent within the block."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
