"""Distinguishes an unavailable database from an error in a statement."""

import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_SQLITE_LOCKS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_CODES = {
    *_SQLITE_LOCKS,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
}
_SQLSTATES = (
    "08",  # connection exceptions
    "53",  # out of connections, memory or disk
    "57P0",  # shutting down, starting up, crashed
    "58",  # the server's own system failed
    "25006",  # read-only: a standby, or a primary that was just demoted
)


class StoreUnavailable(Exception):
    """The database is unavailable. The operation may be retried once it is back.

    `is_timeout` is true when the database rejected nothing: no connection, lock or answer came in time.
    """

    def __init__(self, address: str, cause: BaseException) -> None:
        self.is_timeout = _means_timeout(cause)
        reason = str(getattr(cause, "orig", None) or cause).strip() or type(cause).__name__
        super().__init__(
            f"The database {address} cannot be reached ({reason}). "
            "It is retried automatically; check that the database runs and is writable."
        )


def means_unavailable(error: BaseException) -> bool:
    """True for errors of a database that is down, rejects connections or stays locked."""
    if isinstance(error, OSError | TimeoutError | PoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _driver_says_unavailable(error.orig)
    return _driver_says_unavailable(error)


def _means_timeout(error: BaseException) -> bool:
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return isinstance(error, TimeoutError | PoolTimeout) or (code is not None and code & 0xFF in _SQLITE_LOCKS)


def _driver_says_unavailable(error: BaseException | None) -> bool:
    """True if the driver's code (SQLite's number, PostgreSQL's SQLSTATE) means an unavailable database."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_CODES
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_SQLSTATES)
    return _connection_is_gone(error)


def _connection_is_gone(error: BaseException | None) -> bool:
    """True for a driver's error about its own closed connection, which has a message but no code."""
    words = str(error).lower()
    return type(error).__name__ == "InterfaceError" and "connection" in words and "clos" in words
