"""Prices per second and monthly limits of organizations, and the seconds of their model calls.

Revision 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organizations", sa.Column("picodollars_per_second", sa.BigInteger()))
    op.add_column("organizations", sa.Column("monthly_limit_picodollars", sa.BigInteger()))
    op.add_column(
        "usage_totals", sa.Column("model_milliseconds", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
