"""Histories of chat clients name places in sessions.

Revision 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

from store.database.column_types import CleanText, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chat_addresses",
        sa.Column("session_id", CleanText(), nullable=False),
        sa.Column("message_key", CleanText(), nullable=False),
        sa.Column("organization_id", CleanText(), nullable=False),
        sa.Column("asked", CleanText(), nullable=False),
        sa.Column("seen", CleanText()),
        sa.Column("system", CleanText(), nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("has_history", sa.Boolean(), nullable=False),
        sa.Column("is_newest", sa.Boolean(), nullable=False),
        sa.Column("is_stopped", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_chat_addresses_session_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", "message_key", name="pk_chat_addresses"),
    )
    op.create_index("ix_chat_addresses_asked", "chat_addresses", ["organization_id", "asked", "created_at"])
    op.create_index("ix_chat_addresses_seen", "chat_addresses", ["organization_id", "seen", "created_at"])
