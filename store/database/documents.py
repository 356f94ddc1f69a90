"""Members of JSON documents that are stored as text, read by the database."""

from sqlalchemy import ColumnElement, Text, cast, func
from sqlalchemy.dialects import postgresql

from store.database.connection import Database


def json_text(database: Database, column: ColumnElement[str], *path: str) -> ColumnElement[str]:
    """SQL for the member at a path of a document, as JSON text; NULL where there is none. Clients never set `path`."""
    if database.is_sqlite:
        found: ColumnElement[str] = func.json_extract(column, f"$.{'.'.join(path)}", type_=Text())
        return found
    member: ColumnElement[str] = cast(column, postgresql.JSON)
    for name in path:
        member = member[name]
    return cast(member, Text())
