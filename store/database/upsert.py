"""INSERT ... ON CONFLICT statements for SQLite and PostgreSQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Select, Table
from sqlalchemy.dialects import postgresql, sqlite

from store.database.connection import Database

Insert = sqlite.Insert | postgresql.Insert


def insert_new(database: Database, table: Table, *, key: Sequence[str]) -> Insert:
    """Insert a row unless there is one with this key."""
    return insert_statement(database, table).on_conflict_do_nothing(index_elements=list(key))


def insert_selected(database: Database, table: Table, rows: Select[Any], *, key: Sequence[str]) -> Insert:
    """Insert the rows of a query, in the order of the table's columns, except those whose key exists."""
    inserted = insert_statement(database, table).from_select([column.name for column in table.columns], rows)
    return inserted.on_conflict_do_nothing(index_elements=list(key))


def insert_or_replace(database: Database, table: Table, *, key: Sequence[str]) -> Insert:
    """Insert a row, or update the one with this key."""
    statement = insert_statement(database, table)
    fresh = {name: statement.excluded[name] for name in _others(table, key)}
    return statement.on_conflict_do_update(index_elements=list(key), set_=fresh)


def insert_or_add(database: Database, table: Table, *, key: Sequence[str]) -> Insert:
    """Insert a row of numbers, or add them to those of the row with this key."""
    statement = insert_statement(database, table)
    sums = {name: table.c[name] + statement.excluded[name] for name in _others(table, key)}
    return statement.on_conflict_do_update(index_elements=list(key), set_=sums)


def insert_statement(database: Database, table: Table) -> Insert:
    """An insert into a table, to which the database's ON CONFLICT can be added."""
    return sqlite.insert(table) if database.is_sqlite else postgresql.insert(table)


def _others(table: Table, key: Sequence[str]) -> list[str]:
    columns: list[Column[object]] = list(table.columns)
    return [column.name for column in columns if column.name not in key]
