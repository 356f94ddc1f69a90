"""The first tables: organizations, API keys, agents, sessions, turns, branches, events, steps and the ledger.

Revision 0001, after nothing.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
TEXT = sa.Text()


def upgrade() -> None:
    create_organizations()
    create_agents()
    create_sessions()
    create_turns()
    create_events()
    create_steps()
    create_ledger()


def required(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def create_organizations() -> None:
    op.create_table(
        "organizations",
        required("id", TEXT),
        required("name", TEXT),
        required("created_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
    )
    op.create_table(
        "api_keys",
        required("id", TEXT),
        required("organization_id", TEXT),
        required("name", TEXT),
        required("secret_sha256", TEXT),
        required("last4", TEXT),
        required("created_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_api_keys_organization_id"),
        sa.UniqueConstraint("secret_sha256", name="uq_api_keys_secret_sha256"),
    )
    op.create_index("ix_api_keys_organization_id", "api_keys", ["organization_id"])


def create_agents() -> None:
    op.create_table(
        "agents",
        required("number", NUMBER),
        required("id", TEXT),
        required("organization_id", TEXT),
        required("name", TEXT),
        required("latest_version", sa.Integer()),
        sa.PrimaryKeyConstraint("number", name="pk_agents"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_agents_organization_id"),
        sa.UniqueConstraint("id", name="uq_agents_id"),
        sa.UniqueConstraint("organization_id", "name", name="uq_agents_organization_id_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_agents_organization_id_number", "agents", ["organization_id", "number"])
    op.create_table(
        "agent_versions",
        required("agent_id", TEXT),
        required("version", sa.Integer()),
        required("definition", TEXT),
        required("warnings", DOCUMENT),
        required("created_at", MOMENT),
        sa.PrimaryKeyConstraint("agent_id", "version", name="pk_agent_versions"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_agent_versions_agent_id"),
    )


def create_sessions() -> None:
    op.create_table(
        "sessions",
        required("number", NUMBER),
        required("id", TEXT),
        required("organization_id", TEXT),
        required("agent_id", TEXT),
        required("agent_version", sa.Integer()),
        required("agent_name", TEXT),
        required("agent_number", sa.BigInteger()),
        required("name", TEXT),
        required("model", TEXT),
        required("initial_context", DOCUMENT),
        required("annotations", DOCUMENT),
        sa.Column("simulator", DOCUMENT),
        sa.Column("suite_id", TEXT),
        required("created_at", MOMENT),
        sa.Column("status", TEXT),
        sa.Column("head", TEXT),
        sa.Column("head_version", sa.Integer()),
        sa.Column("updated_at", MOMENT),
        sa.Column("recorded_at", MOMENT),
        required("event_count", sa.Integer()),
        sa.PrimaryKeyConstraint("number", name="pk_sessions"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_sessions_organization_id"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_sessions_agent_id"),
        sa.UniqueConstraint("id", name="uq_sessions_id"),
        sqlite_autoincrement=True,
    )
    newest = ["created_at", "number"]
    op.create_index("ix_sessions_newest", "sessions", ["organization_id", *newest])
    op.create_index("ix_sessions_newest_of_status", "sessions", ["organization_id", "status", *newest])
    op.create_index("ix_sessions_newest_of_agent", "sessions", ["organization_id", "agent_id", *newest])
    op.create_index("ix_sessions_newest_of_suite", "sessions", ["organization_id", "suite_id", *newest])


def of_session(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_session_id"
    return sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=name, ondelete="CASCADE")


def create_turns() -> None:
    op.create_table(
        "turns",
        required("session_id", TEXT),
        required("id", TEXT),
        sa.Column("parent_id", TEXT),
        required("idx", sa.Integer()),
        required("status", TEXT),
        sa.Column("message_key", TEXT),
        required("created_at", MOMENT),
        required("document", TEXT),
        sa.PrimaryKeyConstraint("session_id", "id", name="pk_turns"),
        of_session("turns"),
    )
    op.create_index("ix_turns_session_id_message_key", "turns", ["session_id", "message_key"])
    op.create_table(
        "branches",
        required("session_id", TEXT),
        required("id", TEXT),
        sa.Column("rewound_from_turn_id", TEXT),
        required("leaf_turn_id", TEXT),
        required("discarded_at", MOMENT),
        sa.PrimaryKeyConstraint("session_id", "id", name="pk_branches"),
        of_session("branches"),
    )


def create_events() -> None:
    op.create_table(
        "events",
        required("session_id", TEXT),
        required("sequence", sa.Integer()),
        required("id", TEXT),
        required("key", TEXT),
        required("type", TEXT),
        sa.Column("turn_id", TEXT),
        required("created_at", MOMENT),
        required("payload", DOCUMENT),
        sa.PrimaryKeyConstraint("session_id", "sequence", name="pk_events"),
        sa.UniqueConstraint("session_id", "key", name="uq_events_session_id_key"),
        of_session("events"),
    )


def create_steps() -> None:
    op.create_table(
        "steps",
        required("session_id", TEXT),
        required("turn_id", TEXT),
        required("step", sa.Integer()),
        required("organization_id", TEXT),
        sa.Column("anchor_turn_id", TEXT),
        required("node_id", TEXT),
        required("model", TEXT),
        required("messages", TEXT),
        required("characters", sa.Integer()),
        required("reply", TEXT),
        required("created_at", MOMENT),
        sa.PrimaryKeyConstraint("session_id", "turn_id", "step", name="pk_steps"),
    )


def create_ledger() -> None:
    op.create_table(
        "ledger",
        required("number", NUMBER),
        required("id", TEXT),
        required("organization_id", TEXT),
        required("session_id", TEXT),
        required("turn_id", TEXT),
        required("agent_id", TEXT),
        required("agent_version", sa.Integer()),
        sa.Column("suite_id", TEXT),
        required("usage", DOCUMENT),
        required("cost", DOCUMENT),
        required("picodollars", sa.BigInteger()),
        required("created_at", MOMENT),
        sa.PrimaryKeyConstraint("number", name="pk_ledger"),
        sa.UniqueConstraint("session_id", "turn_id", name="uq_ledger_session_id_turn_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ledger_organization_id_number", "ledger", ["organization_id", "number"])
    op.create_index("ix_ledger_session_id_number", "ledger", ["session_id", "number"])
    figures = [
        "turns",
        "milliseconds",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "requests",
        "unpriced_requests",
        "picodollars",
    ]
    op.create_table(
        "usage_totals",
        required("organization_id", TEXT),
        required("day", sa.Date()),
        required("model", TEXT),
        *(required(figure, sa.BigInteger()) for figure in figures),
        sa.PrimaryKeyConstraint("organization_id", "day", "model", name="pk_usage_totals"),
    )
