"""Documents that agents search, with full text search.

Revision 0013, after 0012. Each passage is indexed twice: with the stems of English words, and with words as they are.
SQLite has two FTS5 tables, kept by triggers; PostgreSQL has two generated columns.
"""

import sqlalchemy as sa
from alembic import op

from store.database.column_types import CleanText, Number, UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Combining marks belong to words: without them FTS5 divides those of Indian scripts.
_WORDS = "unicode61 remove_diacritics 2 categories ''L* N* Co Mn Mc''"
_TOKENIZERS = {"english": f"porter {_WORDS}", "other": _WORDS}
_CONFIGURATIONS = {"english": "english", "other": "simple"}


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("number", Number, nullable=False),
        sa.Column("organization_id", CleanText(), nullable=False),
        sa.Column("digest", CleanText(), nullable=False),
        sa.Column("format", CleanText(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("characters", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer()),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("stored_at", UtcDateTime()),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_documents_organization_id"),
        sa.PrimaryKeyConstraint("number", name="pk_documents"),
        sa.UniqueConstraint("organization_id", "digest", name="uq_documents_organization_id_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "document_names",
        sa.Column("organization_id", CleanText(), nullable=False),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("digest", CleanText(), nullable=False),
        sa.Column("uploaded_at", UtcDateTime(), nullable=False),
        _document_key("document_names"),
        sa.PrimaryKeyConstraint("organization_id", "name", name="pk_document_names"),
    )
    op.create_index("ix_document_names_digest", "document_names", ["organization_id", "digest"])
    op.create_table(
        "document_passages",
        sa.Column("number", Number, nullable=False),
        sa.Column("organization_id", CleanText(), nullable=False),
        sa.Column("digest", CleanText(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer()),
        sa.Column("heading", CleanText(), nullable=False),
        sa.Column("text", CleanText(), nullable=False),
        _document_key("document_passages"),
        sa.PrimaryKeyConstraint("number", name="pk_document_passages"),
        sa.UniqueConstraint(
            "organization_id", "digest", "position", name="uq_document_passages_organization_id_digest_position"
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "agent_documents",
        sa.Column("agent_id", CleanText(), nullable=False),
        sa.Column("digest", CleanText(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_agent_documents_agent_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("agent_id", "digest", name="pk_agent_documents"),
    )
    if op.get_bind().dialect.name == "sqlite":
        _add_fts5()
    else:
        _add_text_search()


def _document_key(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organization_id", "digest"],
        ["documents.organization_id", "documents.digest"],
        name=f"fk_{table}_organization_id",
        ondelete="CASCADE",
    )


def _add_fts5() -> None:
    added, removed = [], []
    for language, tokenizer in _TOKENIZERS.items():
        index = f"passage_words_{language}"
        op.execute(
            f"CREATE VIRTUAL TABLE {index} USING fts5(heading, text, content='document_passages', "
            f"content_rowid='number', tokenize='{tokenizer}')"
        )
        added.append(f"INSERT INTO {index} (rowid, heading, text) VALUES (new.number, new.heading, new.text);")
        removed.append(
            f"INSERT INTO {index} ({index}, rowid, heading, text) VALUES ('delete', old.number, old.heading, old.text);"
        )
    for event, actions in {"INSERT": added, "DELETE": removed}.items():
        op.execute(
            f"CREATE TRIGGER document_passages_{event.lower()} AFTER {event} ON document_passages "
            f"BEGIN {' '.join(actions)} END"
        )


def _add_text_search() -> None:
    for language, configuration in _CONFIGURATIONS.items():
        column = f"passage_words_{language}"
        op.execute(
            f"ALTER TABLE document_passages ADD COLUMN {column} tsvector GENERATED ALWAYS AS ("
            f"setweight(to_tsvector('{configuration}', heading), 'A') || "
            f"setweight(to_tsvector('{configuration}', text), 'D')) STORED"
        )
        op.execute(f"CREATE INDEX ix_document_{column} ON document_passages USING gin ({column})")
