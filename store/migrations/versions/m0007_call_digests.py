"""Paid calls are found by what was asked, and may be billed in several entries; sessions belong to one execution.

Revision 0007, after 0006. Steps of before are linked in the order in which the model read them.
"""

import sqlalchemy as sa
from alembic import op

from store.database.column_types import CleanText, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = "session_id, turn_id, step, organization_id, node_id, model, messages, characters, reply, created_at"
_NEWEST_OF_ANCHOR = (
    "(SELECT anchor.turn_id || '/' || max(anchor.step) FROM steps_before anchor"
    " WHERE anchor.session_id = own.session_id AND anchor.turn_id = own.anchor_turn_id GROUP BY anchor.turn_id)"
)


def upgrade() -> None:
    op.add_column("sessions", sa.Column("first_run_id", CleanText()))
    with op.batch_alter_table("ledger", table_kwargs={"sqlite_autoincrement": True}) as ledger:
        ledger.add_column(sa.Column("entry", sa.Integer(), nullable=False, server_default=sa.text("0")))
        ledger.drop_constraint("uq_ledger_session_id_turn_id", type_="unique")
        ledger.create_unique_constraint("uq_ledger_session_id_turn_id_entry", ["session_id", "turn_id", "entry"])
    op.execute(f"CREATE TABLE steps_before AS SELECT {_COLUMNS}, anchor_turn_id FROM steps")
    op.execute("CREATE INDEX ix_steps_before ON steps_before (session_id, turn_id)")
    op.drop_table("steps")
    op.create_table(
        "steps",
        sa.Column("session_id", CleanText(), nullable=False),
        sa.Column("digest", CleanText(), nullable=False),
        sa.Column("after", CleanText(), nullable=False),
        sa.Column("turn_id", CleanText(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("organization_id", CleanText(), nullable=False),
        sa.Column("node_id", CleanText(), nullable=False),
        sa.Column("model", CleanText(), nullable=False),
        sa.Column("messages", CleanText(), nullable=False),
        sa.Column("characters", sa.Integer(), nullable=False),
        sa.Column("reply", CleanText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "digest", name="pk_steps"),
    )
    op.create_index("ix_steps_session_id_turn_id", "steps", ["session_id", "turn_id", "step"])
    op.execute(
        f"INSERT INTO steps (digest, \"after\", {_COLUMNS}) SELECT own.turn_id || '/' || own.step,"
        f" CASE WHEN own.step > 0 THEN own.turn_id || '/' || (own.step - 1)"
        f" ELSE coalesce({_NEWEST_OF_ANCHOR}, '') END, {_COLUMNS} FROM steps_before own"
    )
    op.drop_table("steps_before")
