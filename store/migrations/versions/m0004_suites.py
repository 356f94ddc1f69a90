"""Suites of simulated sessions and their runs; the cost of a suite is in the ledger.

Revision 0004, after 0003.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
TEXT = sa.Text()


def upgrade() -> None:
    create_suites()
    create_runs()
    of_suites = sa.text("suite_id IS NOT NULL")
    op.create_index(
        "ix_ledger_suite_id_picodollars",
        "ledger",
        ["suite_id", "picodollars"],
        sqlite_where=of_suites,
        postgresql_where=of_suites,
    )


def required(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def create_suites() -> None:
    op.create_table(
        "suites",
        required("number", NUMBER),
        required("id", TEXT),
        required("organization_id", TEXT),
        required("agent_id", TEXT),
        required("agent_version", sa.Integer()),
        required("agent_name", TEXT),
        required("name", TEXT),
        required("definition", TEXT),
        required("planned", sa.Integer()),
        required("seed", sa.BigInteger()),
        sa.Column("budget_picodollars", sa.BigInteger()),
        required("status", TEXT),
        sa.Column("outcome", TEXT),
        required("created_at", MOMENT),
        required("updated_at", MOMENT),
        sa.PrimaryKeyConstraint("number", name="pk_suites"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_suites_organization_id"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_suites_agent_id"),
        sa.UniqueConstraint("id", name="uq_suites_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_suites_newest", "suites", ["organization_id", "created_at", "number"])


def create_runs() -> None:
    op.create_table(
        "runs",
        required("suite_id", TEXT),
        required("scenario", TEXT),
        required("repeat", sa.Integer()),
        required("session_id", TEXT),
        required("started_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("outcome", TEXT),
        sa.Column("verdict", TEXT),
        sa.Column("error", TEXT),
        required("turns", sa.Integer()),
        sa.Column("cost", TEXT),
        sa.PrimaryKeyConstraint("suite_id", "scenario", "repeat", name="pk_runs"),
        sa.ForeignKeyConstraint(["suite_id"], ["suites.id"], name="fk_runs_suite_id", ondelete="CASCADE"),
    )
