"""Embed tokens, the public chats opened with them, and limits on rates.

Revision 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op

from store.database.column_types import CleanText, Document, UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "embed_tokens",
        sa.Column("id", CleanText(), nullable=False),
        sa.Column("organization_id", CleanText(), nullable=False),
        sa.Column("agent_id", CleanText(), nullable=False),
        sa.Column("agent_version", sa.Integer()),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("secret_sha256", CleanText(), nullable=False),
        sa.Column("last4", CleanText(), nullable=False),
        sa.Column("origins", Document, nullable=False),
        sa.Column("settings", Document, nullable=False),
        sa.Column("max_sessions", sa.Integer()),
        sa.Column("session_count", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("revoked_at", UtcDateTime()),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_embed_tokens_organization_id"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_embed_tokens_agent_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_embed_tokens"),
        sa.UniqueConstraint("secret_sha256", name="uq_embed_tokens_secret_sha256"),
    )
    op.create_index("ix_embed_tokens_organization_id", "embed_tokens", ["organization_id"])
    op.create_index("ix_embed_tokens_agent_id", "embed_tokens", ["agent_id"])
    op.create_table(
        "embed_sessions",
        sa.Column("secret_sha256", CleanText(), nullable=False),
        sa.Column("token_id", CleanText(), nullable=False),
        sa.Column("session_id", CleanText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["token_id"], ["embed_tokens.id"], name="fk_embed_sessions_token_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_embed_sessions_session_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("secret_sha256", name="pk_embed_sessions"),
    )
    op.create_index("ix_embed_sessions_token_id", "embed_sessions", ["token_id"])
    op.create_index("ix_embed_sessions_session_id", "embed_sessions", ["session_id"])
    op.create_table(
        "rate_limits",
        sa.Column("key", CleanText(), nullable=False),
        sa.Column("used_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_rate_limits"),
    )
    op.create_index("ix_rate_limits_used_until", "rate_limits", ["used_until"])
