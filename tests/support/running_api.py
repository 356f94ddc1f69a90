"""A running API for tests, and HTTP clients of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
from temporalio.client import Client

from api.dograh.embed_chats import Clock, utc_now
from playhead.config.settings import Settings
from playhead.services.api_server import build_api, listening_socket
from store.api_keys import KeyStore
from store.database.connection import Database
from streaming.hub import LiveHub
from tests.support.waiting import eventually

Json = dict[str, Any]  # Any: what another program wrote


@dataclass(frozen=True)
class Caller:
    """A client with an API key (or without), and its organization."""

    http: httpx2.AsyncClient
    organization: str

    async def get(self, path: str, **query: object) -> httpx2.Response:
        return await self.http.get(path, params={name: str(value) for name, value in query.items()})

    async def post(self, path: str, body: object = None, **query: object) -> httpx2.Response:
        params = {name: str(value).lower() for name, value in query.items()}
        return await self.http.post(path, json=body, params=params)

    async def put(self, path: str, body: object = None) -> httpx2.Response:
        return await self.http.put(path, json=body)

    async def push(self, definition: Json) -> Json:
        """Store an agent and return it."""
        return done(await self.post("/v1/agents", definition), 200, 201)

    async def open(self, agent: str, **fields: object) -> Json:
        """Open a session and return it, greeted."""
        return done(await self.post("/v1/sessions", {"agent": agent, **fields}), 201)

    async def say(self, session_id: str, text: str, **fields: object) -> Json:
        """Say something and return the session after the reply."""
        return done(await self.post(f"/v1/sessions/{session_id}/messages", {"text": text, **fields}), 200)

    async def rewind(self, session_id: str, turn_id: str | None, **fields: object) -> Json:
        """Rewind and return the session."""
        return done(await self.post(f"/v1/sessions/{session_id}/rewind", {"turn_id": turn_id, **fields}), 200)

    async def end(self, session_id: str) -> Json:
        """End a session and return it."""
        return done(await self.post(f"/v1/sessions/{session_id}/end"), 200)

    async def session(self, session_id: str) -> Json:
        """A session as it is shown now."""
        return done(await self.get(f"/v1/sessions/{session_id}"), 200)

    async def items(self, path: str, **query: object) -> list[Json]:
        """Every item of a list, page after page."""
        found: list[Json] = []
        page = done(await self.get(path, **query), 200)
        while True:
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            page = done(await self.get(path, **query, cursor=page["next_cursor"]), 200)

    async def recorded(self, session_id: str, *, turns: int) -> list[Json]:
        """The ledger rows of a session, once there are this many."""

        async def rows() -> list[Json]:
            found = await self.items("/v1/usage/ledger", session=session_id)
            return found if len(found) >= turns else []

        return await eventually(rows)


@dataclass(frozen=True)
class RunningApi:
    """A running API, with the services behind it."""

    client: Client
    database: Database
    settings: Settings
    url: str
    hub: LiveHub
    """The watchers of each session at this API."""

    @asynccontextmanager
    async def caller(self, organization: str | None = None) -> AsyncIterator[Caller]:
        """A client with a key of an organization of its own, or of the one named."""
        organization = organization or f"org_{uuid4().hex[:8]}"
        _, secret = await KeyStore(self.database).create(organization, "tests")
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=60) as http:
            yield Caller(http, organization)

    @asynccontextmanager
    async def stranger(self, **headers: str) -> AsyncIterator[Caller]:
        """A client without a key, or with these headers only."""
        async with httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=60) as http:
            yield Caller(http, "")


@asynccontextmanager
async def serving(
    settings: Settings, client: Client, database: Database, hub: LiveHub | None = None, *, clock: Clock = utc_now
) -> AsyncIterator[RunningApi]:
    """The API on a free port while the block runs, behind the same server as `playhead api`."""
    hub = hub or LiveHub()
    server = build_api(settings, client, database, hub, clock=clock)
    with listening_socket("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:

            async def started() -> bool:
                assert not serving.done(), serving.exception()
                return server.started

            await eventually(started)
            yield RunningApi(client, database, settings, f"http://127.0.0.1:{listener.getsockname()[1]}", hub)
        finally:
            server.should_exit = True
            await serving


def done(response: httpx2.Response, *statuses: int) -> Json:
    """The body of an answer that has one of these statuses."""
    assert response.status_code in statuses, f"{response.status_code}: {response.text}"
    body: Json = response.json()
    return body


def problem(response: httpx2.Response, status: int, code: str) -> Json:
    """The problem document of an answer with this status and code."""
    body = done(response, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"] == f"urn:playhead:problem:{code}"
    assert body["title"]
    assert body["detail"]
    return body


def texts(session: Json) -> list[tuple[str | None, str | None]]:
    """The visible turns of a session: for each the texts of the user and of the agent."""
    return [(_words(turn["user_message"]), _words(turn["assistant_message"])) for turn in session["turns"]]


def _words(message: Json | None) -> str | None:
    return str(message["text"]) if message else None
