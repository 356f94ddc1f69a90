"""Steps keep the request that was sent.

Revision 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

from store.database.column_types import CleanText

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("frame_digest", "frame", "sent"):
        op.add_column("steps", sa.Column(name, CleanText()))
    op.create_index(
        "ix_steps_session_id_frame_digest",
        "steps",
        ["session_id", "frame_digest"],
        sqlite_where=sa.text("frame IS NOT NULL"),
        postgresql_where=sa.text("frame IS NOT NULL"),
    )
