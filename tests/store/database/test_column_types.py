"""Column types: values round-trip, and characters that a database rejects are replaced."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from store.database.column_types import dump_document
from store.database.connection import Database
from store.database.tables import agent_versions
from tests.support.stored_conversations import START, agent_in

documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(documents)
def test_document_that_can_be_stored_is_not_changed(document: object) -> None:
    text = dump_document(document)
    if "\x00" not in str(document) and "\\x00" not in repr(document):
        assert json.loads(text) == document
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("a\x00b", "a\ufffdb"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("a literal \\u0000", "a literal \\u0000"),
        ("grüße 😀", "grüße 😀"),
    ],
)
async def test_text_that_a_database_cannot_hold_is_marked(database: Database, written: str, kept: str) -> None:
    agent = await agent_in(database)
    values = {
        "agent_id": agent.id,
        "version": 2,
        "definition": "{}",
        "warnings": [written, {written: None}],
        "created_at": START,
    }
    await database.write(lambda connection: connection.execute(insert(agent_versions), values).close())
    statement = select(agent_versions.c.warnings).where(agent_versions.c.version == 2)
    stored = await database.read(lambda connection: connection.execute(statement).scalar_one())
    assert stored == [kept, {kept: None}]
