"""Embed tokens: stored as digests, read at every use, deleted with their agent; erasure deletes session tokens."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from store.agents import AgentStore
from store.database.connection import Database
from store.embed import EmbedStore, EmbedToken
from store.sessions.erasure import ErasureStore
from tests.store.test_api_keys import files_in
from tests.support.stored_conversations import ORGANIZATION, SESSION, agent_in, session_in

NOW = datetime(2026, 11, 29, 2, 0, tzinfo=UTC)
PAGE = "https://shop.example.com"
HOUR = timedelta(hours=1)


@pytest.fixture
def tokens(database: Database) -> EmbedStore:
    return EmbedStore(database)


async def made(database: Database, *, max_sessions: int | None = None) -> tuple[EmbedToken, str]:
    agent = await agent_in(database)
    return await EmbedStore(database).create(
        ORGANIZATION, agent.id, "shop", origins=[PAGE], settings={"theme": "dark"}, max_sessions=max_sessions, at=NOW
    )


async def test_token_is_found_by_its_secret_until_it_is_revoked(tokens: EmbedStore, database: Database) -> None:
    token, secret = await made(database)
    assert secret.startswith("emb_")
    assert (token.last4, token.origins, token.settings) == (secret[-4:], (PAGE,), {"theme": "dark"})
    assert await tokens.find(secret) == token
    for wrong in ("", "emb_", secret[:-1], f"{secret}x", "\x00", "\ud800"):
        assert await tokens.find(wrong) is None
    assert await tokens.origins() == [[PAGE]]
    assert await tokens.revoke(token.id, NOW)
    assert not await tokens.revoke(token.id, NOW), "it was revoked before"
    assert not await tokens.revoke("emb_unknown", NOW)
    found = await tokens.find(secret)
    assert found is not None
    assert found.revoked_at == NOW
    assert await tokens.list() == [found]
    assert await tokens.origins() == []
    assert not await tokens.count_session(token.id)


async def test_processes_count_sessions_together(
    tokens: EmbedStore, database: Database, other_process: Database
) -> None:
    token, _ = await made(database, max_sessions=3)
    both = (tokens, EmbedStore(other_process))
    counted = await asyncio.gather(*(both[turn % 2].count_session(token.id) for turn in range(8)))
    assert sum(counted) == 3
    [listed] = await tokens.list()
    assert listed.session_count == 3


async def test_a_session_secret_returns_the_current_state_of_its_token(tokens: EmbedStore, database: Database) -> None:
    token, page_secret = await made(database)
    await session_in(database)
    secret = await tokens.add_session(token.id, SESSION, at=NOW, lifetime=HOUR)
    assert secret.startswith("emb_session_")
    found = await tokens.session(secret)
    assert found is not None
    assert (found.session_id, found.expires_at, found.token.revoked_at) == (SESSION, NOW + HOUR, None)
    assert await tokens.session(page_secret) is None
    assert await tokens.find(secret) is None
    await tokens.revoke(token.id, NOW)
    revoked = await tokens.session(secret)
    assert revoked is not None
    assert revoked.token.revoked_at == NOW


async def test_erased_session_leaves_no_token_of_its_visitor(tokens: EmbedStore, database: Database) -> None:
    token, _ = await made(database)
    await session_in(database)
    secret = await tokens.add_session(token.id, SESSION, at=NOW, lifetime=HOUR)
    assert await ErasureStore(database).erase(ORGANIZATION, SESSION)
    assert await tokens.session(secret) is None


async def test_tokens_are_deleted_with_their_agent(tokens: EmbedStore, database: Database) -> None:
    token, secret = await made(database)
    await AgentStore(database).erase(ORGANIZATION, token.agent_id)
    assert await tokens.find(secret) is None
    assert await tokens.list() == []


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_no_secret_is_in_the_database(tokens: EmbedStore, database: Database, kind: str, tmp_path: Path) -> None:
    token, page_secret = await made(database)
    await session_in(database)
    secret = await tokens.add_session(token.id, SESSION, at=NOW, lifetime=HOUR)
    written = files_in(tmp_path)
    assert PAGE.encode() in written
    assert page_secret.encode() not in written
    assert secret.encode() not in written
