"""The database tables. `migrations/` creates them; a test checks that both agree.

Turns, branches and events are deleted with their session. Steps and the ledger refer to sessions without a foreign
key: paid calls are billed even if their session is erased meanwhile, and ledger rows are never deleted.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from store.database.column_types import CleanText, Document, Number, UtcDateTime

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

IS_OPEN = "status IS NULL OR status <> 'completed'"
"""SQL for sessions that have not ended as far as the store knows."""

organizations = Table(
    "organizations",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Empty where seconds are not charged, and where spending has no limit.
    Column("picodollars_per_second", BigInteger),
    Column("monthly_limit_picodollars", BigInteger),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("name", CleanText, nullable=False),
    Column("secret_sha256", CleanText, nullable=False, unique=True),
    Column("last4", CleanText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

agents = Table(
    "agents",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", CleanText, nullable=False, unique=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("name", CleanText, nullable=False),
    Column("latest_version", Integer, nullable=False),
    UniqueConstraint("organization_id", "name"),
    Index("ix_agents_organization_id_number", "organization_id", "number"),
    sqlite_autoincrement=True,
)

agent_versions = Table(
    "agent_versions",
    metadata,
    Column("agent_id", ForeignKey("agents.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # Text, not a Document: the order of an agent's nodes is its author's.
    Column("definition", CleanText, nullable=False),
    Column("warnings", Document, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    # Text of files that agents search, once in each organization.
    Column("number", Number, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    # SHA-256 of the file.
    Column("digest", CleanText, nullable=False),
    Column("format", CleanText, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("characters", Integer, nullable=False),
    # Empty unless the format has pages.
    Column("pages", Integer),
    Column("passages", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Empty until every passage is stored.
    Column("stored_at", UtcDateTime),
    UniqueConstraint("organization_id", "digest"),
    sqlite_autoincrement=True,
)

document_names = Table(
    "document_names",
    metadata,
    # The newest document of each name.
    Column("organization_id", CleanText, primary_key=True),
    Column("name", CleanText, primary_key=True),
    Column("digest", CleanText, nullable=False),
    Column("uploaded_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(
        ["organization_id", "digest"], ["documents.organization_id", "documents.digest"], ondelete="CASCADE"
    ),
    Index("ix_document_names_digest", "organization_id", "digest"),
)

document_passages = Table(
    "document_passages",
    metadata,
    # Full text search is beside this table: see store/documents.py.
    Column("number", Number, primary_key=True),
    Column("organization_id", CleanText, nullable=False),
    Column("digest", CleanText, nullable=False),
    Column("position", Integer, nullable=False),
    Column("page", Integer),
    Column("heading", CleanText, nullable=False),
    Column("text", CleanText, nullable=False),
    ForeignKeyConstraint(
        ["organization_id", "digest"], ["documents.organization_id", "documents.digest"], ondelete="CASCADE"
    ),
    UniqueConstraint("organization_id", "digest", "position"),
    sqlite_autoincrement=True,
)

agent_documents = Table(
    "agent_documents",
    metadata,
    # The documents that any version of an agent searches.
    Column("agent_id", ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", CleanText, primary_key=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", CleanText, nullable=False, unique=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("agent_id", ForeignKey("agents.id"), nullable=False),
    Column("agent_version", Integer, nullable=False),
    Column("agent_name", CleanText, nullable=False),
    Column("agent_number", BigInteger, nullable=False),
    Column("name", CleanText, nullable=False),
    Column("model", CleanText, nullable=False),
    Column("initial_context", Document, nullable=False),
    Column("annotations", Document, nullable=False),
    Column("simulator", Document),
    Column("suite_id", CleanText),
    # The session that this one was forked from, or whose past it continues.
    Column("forked_from", CleanText),
    Column("created_at", UtcDateTime, nullable=False),
    # As last settled; all empty until then.
    Column("status", CleanText),
    Column("head", CleanText),
    Column("head_version", Integer),
    Column("updated_at", UtcDateTime),
    Column("recorded_at", UtcDateTime),
    # The sequence number of the session's newest event.
    Column("event_count", Integer, nullable=False),
    # The first run of the session's workflow: continue-as-new and resets keep it. Empty until the session was settled.
    Column("first_run_id", CleanText),
    Index("ix_sessions_newest", "organization_id", "created_at", "number"),
    Index("ix_sessions_newest_of_status", "organization_id", "status", "created_at", "number"),
    Index("ix_sessions_newest_of_agent", "organization_id", "agent_id", "created_at", "number"),
    Index("ix_sessions_newest_of_suite", "organization_id", "suite_id", "created_at", "number"),
    # Those that are open or were never settled, for the reconciler.
    Index("ix_sessions_open", "number", sqlite_where=text(IS_OPEN), postgresql_where=text(IS_OPEN)),
    Index("ix_sessions_last_updated", "organization_id", "updated_at", "number"),
    Index(
        "ix_sessions_newest_fork",
        "organization_id",
        "forked_from",
        "created_at",
        "number",
        sqlite_where=text("forked_from IS NOT NULL"),
        postgresql_where=text("forked_from IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

embed_tokens = Table(
    "embed_tokens",
    metadata,
    # Tokens in pages of other sites, which open public chats with one agent.
    Column("id", CleanText, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("agent_id", ForeignKey("agents.id", ondelete="CASCADE"), nullable=False, index=True),
    # Empty for the latest version.
    Column("agent_version", Integer),
    Column("name", CleanText, nullable=False),
    Column("secret_sha256", CleanText, nullable=False, unique=True),
    Column("last4", CleanText, nullable=False),
    # A list of origins.
    Column("origins", Document, nullable=False),
    # Settings of dograh's widget.
    Column("settings", Document, nullable=False),
    # Empty where the sessions are not limited.
    Column("max_sessions", Integer),
    Column("session_count", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

embed_sessions = Table(
    "embed_sessions",
    metadata,
    # The visitor's token of a session. It is removed with its session, and with the embed token.
    Column("secret_sha256", CleanText, primary_key=True),
    Column("token_id", ForeignKey("embed_tokens.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

rate_limits = Table(
    "rate_limits",
    metadata,
    # A digest of the limit and its subject. A row is removed once its whole allowance is available again.
    Column("key", CleanText, primary_key=True),
    # When the whole allowance is back, in microseconds since 1970.
    Column("used_until", BigInteger, nullable=False, index=True),
)

turns = Table(
    "turns",
    metadata,
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("id", CleanText, primary_key=True),
    Column("parent_id", CleanText),
    Column("idx", Integer, nullable=False),
    Column("status", CleanText, nullable=False),
    Column("message_key", CleanText),
    Column("created_at", UtcDateTime, nullable=False),
    # Text, not a Document: it is read back as a whole, and exactly as it was.
    Column("document", CleanText, nullable=False),
    Index("ix_turns_session_id_message_key", "session_id", "message_key"),
)

branches = Table(
    "branches",
    metadata,
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("id", CleanText, primary_key=True),
    Column("rewound_from_turn_id", CleanText),
    Column("leaf_turn_id", CleanText, nullable=False),
    Column("discarded_at", UtcDateTime, nullable=False),
)

chat_addresses = Table(
    "chat_addresses",
    metadata,
    # A message that came over a chat protocol. Digests are removed with their session.
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("message_key", CleanText, primary_key=True),
    Column("organization_id", CleanText, nullable=False),
    # Digests of the conversation up to the message, and up to its reply as soon as that is known.
    Column("asked", CleanText, nullable=False),
    Column("seen", CleanText),
    # The digest of the system messages that the session was opened with.
    Column("system", CleanText, nullable=False),
    # True when the digests begin with the session's first message; others do not name a place.
    Column("is_whole", Boolean, nullable=False),
    # True when the client sent earlier messages too.
    Column("has_history", Boolean, nullable=False),
    # True when no later message of the session has an address.
    Column("is_newest", Boolean, nullable=False),
    # True when the client closed the stream of the reply.
    Column("is_stopped", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_chat_addresses_asked", "organization_id", "asked", "created_at"),
    Index("ix_chat_addresses_seen", "organization_id", "seen", "created_at"),
)

steps = Table(
    "steps",
    metadata,
    Column("session_id", CleanText, primary_key=True),
    # The digest of the model call, and that of the step before, which is empty for a session's first.
    Column("digest", CleanText, primary_key=True),
    Column("after", CleanText, nullable=False),
    Column("turn_id", CleanText, nullable=False),
    Column("step", Integer, nullable=False),
    Column("organization_id", CleanText, nullable=False),
    Column("node_id", CleanText, nullable=False),
    Column("model", CleanText, nullable=False),
    Column("messages", CleanText, nullable=False),
    # The length of `messages`, so that a history can be cut to size without reading it.
    Column("characters", Integer, nullable=False),
    Column("reply", CleanText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # The request that was sent, without its messages. A frame is stored once where a session's steps share it.
    Column("frame_digest", CleanText),
    Column("frame", CleanText),
    Column("sent", CleanText),
    Index("ix_steps_session_id_turn_id", "session_id", "turn_id", "step"),
    Index(
        "ix_steps_session_id_frame_digest",
        "session_id",
        "frame_digest",
        sqlite_where=text("frame IS NOT NULL"),
        postgresql_where=text("frame IS NOT NULL"),
    ),
)

events = Table(
    "events",
    metadata,
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("id", CleanText, nullable=False),
    Column("key", CleanText, nullable=False),
    Column("type", CleanText, nullable=False),
    Column("turn_id", CleanText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("payload", Document, nullable=False),
    UniqueConstraint("session_id", "key"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", CleanText, nullable=False),
    Column("organization_id", CleanText, nullable=False),
    Column("session_id", CleanText, nullable=False),
    # The id of the turn, or of the auxiliary model call.
    Column("turn_id", CleanText, nullable=False),
    Column("purpose", CleanText, nullable=False, server_default=text("'turn'")),
    Column("agent_id", CleanText, nullable=False),
    Column("agent_version", Integer, nullable=False),
    Column("suite_id", CleanText),
    Column("usage", Document, nullable=False),
    Column("cost", Document, nullable=False),
    Column("picodollars", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Counts the rows of one turn: the first is 0, and more follow only where a model call was paid for again.
    Column("entry", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("session_id", "turn_id", "entry"),
    Index("ix_ledger_organization_id_number", "organization_id", "number"),
    Index("ix_ledger_organization_id_created_at", "organization_id", "created_at"),
    Index("ix_ledger_session_id_number", "session_id", "number"),
    Index(
        "ix_ledger_suite_id_picodollars",
        "suite_id",
        "picodollars",
        sqlite_where=text("suite_id IS NOT NULL"),
        postgresql_where=text("suite_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

usage_totals = Table(
    "usage_totals",
    metadata,
    Column("organization_id", CleanText, primary_key=True),
    Column("day", Date, primary_key=True),
    # Empty for totals that belong to no model: the number of turns and their duration; "duration" for its cost.
    Column("model", CleanText, primary_key=True),
    Column("turns", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("model_milliseconds", BigInteger, nullable=False, server_default=text("0")),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("total_tokens", BigInteger, nullable=False),
    Column("cache_read_input_tokens", BigInteger, nullable=False),
    Column("cache_creation_input_tokens", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("unpriced_requests", BigInteger, nullable=False),
    Column("picodollars", BigInteger, nullable=False),
)

erasures = Table(
    "erasures",
    metadata,
    # No content: only that the session existed, and who pays for what is still billed.
    Column("session_id", CleanText, primary_key=True),
    Column("organization_id", CleanText, nullable=False),
    Column("agent_id", CleanText, nullable=False),
    Column("agent_version", Integer, nullable=False),
    Column("suite_id", CleanText),
    Column("erased_at", UtcDateTime, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    # The workflow that the payload belongs to, in any of its runs. Nothing here refers to a row of `sessions`.
    Column("workflow_id", CleanText, primary_key=True),
    Column("key", CleanText, primary_key=True),
    Column("stored_at", UtcDateTime, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("ix_blobs_stored_at", "stored_at"),
)

suites = Table(
    "suites",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", CleanText, nullable=False, unique=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("agent_id", ForeignKey("agents.id"), nullable=False),
    Column("agent_version", Integer, nullable=False),
    Column("agent_name", CleanText, nullable=False),
    Column("name", CleanText, nullable=False),
    # Text, not a Document: the order of the scenarios is their author's.
    Column("definition", CleanText, nullable=False),
    Column("planned", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("budget_picodollars", BigInteger),
    Column("status", CleanText, nullable=False),
    Column("outcome", CleanText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_suites_newest", "organization_id", "created_at", "number"),
    Index("ix_suites_open", "number", sqlite_where=text("outcome IS NULL"), postgresql_where=text("outcome IS NULL")),
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
    Column("suite_id", ForeignKey("suites.id", ondelete="CASCADE"), primary_key=True),
    Column("scenario", CleanText, primary_key=True),
    Column("repeat", Integer, primary_key=True, autoincrement=False),
    # Without a foreign key: the verdict on a session outlives the session.
    Column("session_id", CleanText, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    # Part of the suite's budget, reserved until there is a verdict.
    Column("held_picodollars", BigInteger, nullable=False, server_default="0"),
    # All empty until there is a verdict.
    Column("ended_at", UtcDateTime),
    Column("outcome", CleanText),
    Column("verdict", CleanText),
    Column("error", CleanText),
    Column("turns", Integer, nullable=False),
    Column("cost", CleanText),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    # Findings and actions of the reconciler, one row for each session or suite that it changed.
    Column("number", Number, primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("subject", CleanText, nullable=False),
    Column("subject_id", CleanText, nullable=False),
    Column("organization_id", CleanText, nullable=False),
    Column("found", CleanText, nullable=False),
    Column("done", CleanText, nullable=False),
    Column("billed", Integer, nullable=False),
    Column("turns_in_store", Integer),
    Column("turns_in_temporal", Integer),
    Index("ix_reconciliations_created_at", "created_at"),
    sqlite_autoincrement=True,
)

reconcilers = Table(
    "reconcilers",
    metadata,
    # The number of runs of each schedule. Temporal counts them too: a difference shows that either was set back.
    Column("name", CleanText, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
