"""The amount of the budget that a run of a suite reserves.

Revision 0015, after 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("held_picodollars", sa.BigInteger(), nullable=False, server_default="0"))
