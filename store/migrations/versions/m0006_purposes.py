"""The purpose of ledger rows: a turn, or a model call outside the turns.

Revision 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger", sa.Column("purpose", sa.Text(), nullable=False, server_default=sa.text("'turn'")))
