"""Database migrations, run from an installed package without configuration files."""

from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from store.database.connection import Database

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = text("SELECT pg_advisory_xact_lock(:number)")
_LOCK_NUMBER = 0x506C6179
"""Number of the advisory lock that serializes upgrades on PostgreSQL."""


async def pending(database: Database) -> list[str]:
    """The revisions that `upgrade` would apply, oldest first; empty when the database is up to date.

    Raises StoreUnavailable, and LookupError when a newer Playhead has upgraded the database.
    """
    return await database.read(_pending)


async def upgrade(database: Database) -> list[str]:
    """Apply pending migrations in one transaction; returns their revisions, oldest first.

    Concurrent upgrades wait for each other; the second finds nothing to do.
    Raises StoreUnavailable, and LookupError when a newer Playhead has upgraded the database.
    """
    return await database.change_schema(_upgrade)


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for an open connection."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection) -> list[str]:
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"number": _LOCK_NUMBER})
    missing = _pending(connection)
    if missing:
        command.upgrade(configuration(connection), "head")
    return missing


def _pending(connection: Connection) -> list[str]:
    script = ScriptDirectory(MIGRATIONS)
    current = MigrationContext.configure(connection).get_current_heads()
    _require_known(script, current)
    missing = script.iterate_revisions("heads", current or "base")
    return [revision.revision for revision in missing][::-1]


def _require_known(script: ScriptDirectory, current: Sequence[str]) -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    unknown = sorted(set(current) - known)
    if unknown:
        raise LookupError(
            f"The database is at revision {', '.join(unknown)}, which this version of Playhead does not know: "
            "a newer one has upgraded it. Run that version, or restore a backup from before."
        )
