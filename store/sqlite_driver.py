"""SQLite through aiosqlite, with one hop to its thread for a statement instead of four.

SQLAlchemy's own dialect asks the connection's thread for a cursor, then to execute, to fetch and to close. Each
hop wakes two threads, which is most of what a small statement costs. Here one hop does all of it; results are
fetched as a whole, as that dialect does as well.
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
    SQLiteDialect_aiosqlite,
)

# What is `Any` here is so in SQLAlchemy: the driver's connection and cursor, seen through its stand-ins for them.


class OneHopCursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that comes to be when it executes, and is closed by then."""

    __slots__ = ()

    def _make_new_cursor(self, connection: Any) -> Any:
        return None

    def _aenter_cursor(self, cursor: Any) -> Any:
        return None

    async def _execute_async(self, operation: str, parameters: Any) -> Any:
        return await self._hop(_execute, operation, parameters or ())

    async def _executemany_async(self, operation: str, seq_of_parameters: Any) -> Any:
        return await self._hop(_execute_many, operation, seq_of_parameters)

    async def _hop(self, function: Any, operation: str, parameters: Any) -> Any:
        driver: Any = self._connection
        async with self._adapt_connection._execute_mutex:
            self._cursor, rows = await driver._execute(function, driver._conn, operation, parameters)
        self._rows = deque(rows)
        return self._cursor

    async def _async_soft_close(self) -> None:
        """There is nothing left to close."""

    def close(self) -> None:
        self._rows.clear()


class OneHopConnection(AsyncAdapt_aiosqlite_connection):
    """A connection whose cursors take one hop."""

    __slots__ = ()

    _cursor_cls = OneHopCursor


class OneHopDriver(AsyncAdapt_aiosqlite_dbapi):
    """The driver as SQLAlchemy sees it."""

    def connect(self, *arg: Any, **kw: Any) -> OneHopConnection:
        connection = super().connect(*arg, **kw)
        return OneHopConnection(self, connection._connection)


class OneHopDialect(SQLiteDialect_aiosqlite):
    """SQLAlchemy's dialect over that driver."""

    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> OneHopDriver:
        return OneHopDriver(__import__("aiosqlite"), sqlite3)


def _execute(
    connection: sqlite3.Connection, operation: str, parameters: Sequence[Any]
) -> tuple[sqlite3.Cursor, list[Any]]:
    cursor = connection.execute(operation, parameters)
    rows = cursor.fetchall() if cursor.description else []
    cursor.close()
    return cursor, rows


def _execute_many(
    connection: sqlite3.Connection, operation: str, parameters: Sequence[Sequence[Any]]
) -> tuple[sqlite3.Cursor, list[Any]]:
    cursor = connection.executemany(operation, parameters)
    cursor.close()
    return cursor, []
