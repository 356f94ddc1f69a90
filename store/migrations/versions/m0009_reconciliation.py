"""The reconciler: what it found and did, how often it ran, and indexes of what is open.

Revision 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

from store.database.column_types import CleanText, Number, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_OPEN_SESSION = sa.text("status IS NULL OR status <> 'completed'")
_OPEN_SUITE = sa.text("outcome IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_sessions_open", "sessions", ["number"], sqlite_where=_OPEN_SESSION, postgresql_where=_OPEN_SESSION
    )
    op.create_index("ix_suites_open", "suites", ["number"], sqlite_where=_OPEN_SUITE, postgresql_where=_OPEN_SUITE)
    op.create_table(
        "reconciliations",
        sa.Column("number", Number, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("subject", CleanText(), nullable=False),
        sa.Column("subject_id", CleanText(), nullable=False),
        sa.Column("organization_id", CleanText(), nullable=False),
        sa.Column("found", CleanText(), nullable=False),
        sa.Column("done", CleanText(), nullable=False),
        sa.Column("billed", sa.Integer(), nullable=False),
        sa.Column("turns_in_store", sa.Integer()),
        sa.Column("turns_in_temporal", sa.Integer()),
        sa.PrimaryKeyConstraint("number", name="pk_reconciliations"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reconciliations_created_at", "reconciliations", ["created_at"])
    op.create_table(
        "reconcilers",
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_reconcilers"),
    )
