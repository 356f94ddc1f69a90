"""Sessions are found by their source and by their last change.

Revision 0012, after 0011. Sources are taken from the recorded heads.
"""

import sqlalchemy as sa
from alembic import op

from store.database.column_types import CleanText

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SOURCES = {
    "sqlite": "json_extract(head, '$.forked_from.session_id')",
    "postgresql": "head::json->'forked_from'->>'session_id'",
}


def upgrade() -> None:
    op.add_column("sessions", sa.Column("forked_from", CleanText()))
    source = _SOURCES[op.get_bind().dialect.name]
    op.execute(f"UPDATE sessions SET forked_from = {source} WHERE head IS NOT NULL AND {source} IS NOT NULL")
    op.create_index("ix_sessions_last_updated", "sessions", ["organization_id", "updated_at", "number"])
    op.create_index(
        "ix_sessions_newest_fork",
        "sessions",
        ["organization_id", "forked_from", "created_at", "number"],
        sqlite_where=sa.text("forked_from IS NOT NULL"),
        postgresql_where=sa.text("forked_from IS NOT NULL"),
    )
