"""Usage is added up over ranges of time.

Revision 0011, after 0010.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_ledger_organization_id_created_at", "ledger", ["organization_id", "created_at"])
