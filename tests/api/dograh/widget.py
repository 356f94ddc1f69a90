"""A visitor's browser with dograh's chat widget in a page: the requests that it sends, and the clock of the APIs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx2
from sqlalchemy import delete

from store.database.connection import Database
from store.database.tables import rate_limits
from store.embed import EmbedStore
from tests.support.api_agents import library
from tests.support.running_api import Caller, Json, RunningApi, done, serving

EMBED = "/api/v1/public/embed"
SHOP = "https://shop.example.com"
EVIL = "https://evil.example"


class SetClock:
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@dataclass(frozen=True)
class Site:
    """Two APIs on one store with one clock, whose clients are told apart by `X-Forwarded-For`."""

    apis: Sequence[RunningApi]
    clock: SetClock

    @asynccontextmanager
    async def visitor(self, token: str, *, api: int = 0, origin: str | None = SHOP) -> AsyncIterator["Widget"]:
        """A visitor with an address of their own."""
        address = f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"
        headers = {"X-Forwarded-For": address} | ({"Origin": origin} if origin else {})
        async with self.apis[api].stranger(**headers) as browser:
            yield Widget(browser.http, token)

    async def token(self, caller: Caller, *, model: str | None = None, **fields: object) -> str:
        """The secret of a new embed token for a new agent."""
        agent = await caller.push(library(model))
        _, secret = await self.new_token(caller, agent, **fields)
        return secret

    async def new_token(self, caller: Caller, agent: Json, **fields: object) -> tuple[str, str]:
        """The id and the secret of a new embed token."""
        chosen = {"origins": [SHOP], "at": self.clock.now, **fields}
        store = EmbedStore(self.apis[0].database)
        token, secret = await store.create(caller.organization, agent["id"], "shop", **chosen)  # type: ignore[arg-type]  # options of a test
        return token.id, secret


@asynccontextmanager
async def two_apis(running_api: RunningApi, other_store: RunningApi) -> AsyncIterator[Site]:
    """Two APIs behind a proxy at 127.0.0.1, which share the store and Temporal only. No token is left in the store."""
    clock = SetClock()
    await revoke_tokens(running_api.database, clock.now)
    settings = running_api.settings.model_validate(
        {**running_api.settings.model_dump(), "trusted_proxies": ("127.0.0.1",)}
    )
    async with (
        serving(settings, running_api.client, running_api.database, clock=clock) as one,
        serving(settings, other_store.client, other_store.database, clock=clock) as other,
    ):
        yield Site((one, other), clock)


@dataclass
class Widget:
    """The widget of one visitor. `shown` is the chat as last returned."""

    http: httpx2.AsyncClient
    token: str
    session_token: str = ""
    shown: Json = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"{EMBED}/chat/{self.session_token}"

    @property
    def said(self) -> list[tuple[str | None, str | None]]:
        """The visitor's and the agent's message of each turn."""
        sides = [(turn["user_message"], turn["assistant_message"]) for turn in self.shown["turns"]]
        return [(user and user["text"], agent and agent["text"]) for user, agent in sides]

    async def configuration(self) -> httpx2.Response:
        """The first request of the widget."""
        return await self.http.get(f"{EMBED}/config/{self.token}", headers={"Content-Type": "application/json"})

    async def init(self, **variables: object) -> httpx2.Response:
        """Open a chat; returns the response."""
        body = {"token": self.token, "context_variables": variables}
        return await self.http.post(f"{EMBED}/init", json=body)

    async def open(self, **variables: object) -> Json:
        """Open a chat."""
        opened = done(await self.init(**variables), 200)
        self.session_token = opened["session_token"]
        self.shown = opened["chat_session"]
        return opened

    async def post(self, command: str, **body: object) -> httpx2.Response:
        """Send a command as given."""
        return await self.http.post(f"{self.path}/{command}", json=body)

    async def send(self, text: str) -> Json:
        """Send a message."""
        self.shown = done(await self.post("messages", text=text, expected_revision=self.shown["revision"]), 200)
        return self.shown

    async def read(self) -> httpx2.Response:
        """Read the chat; returns the response."""
        return await self.http.get(self.path)

    async def preflight(self, path: str, method: str = "POST") -> httpx2.Response:
        """The preflight of a browser before a request."""
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
        return await self.http.options(path, headers=asked)


async def revoke_tokens(database: Database, at: datetime) -> None:
    """Revoke all tokens: a preflight of an opening is for the origins of any token, also one of an earlier test."""
    tokens = EmbedStore(database)
    for token in await tokens.list():
        await tokens.revoke(token.id, at)


async def forget_rates(database: Database) -> None:
    """Clear all rate limits: clients of tests share the address of this machine."""
    await database.write(lambda connection: connection.execute(delete(rate_limits)).close())


def allowed_origin(response: httpx2.Response) -> str | None:
    """The origin whose pages may read a response."""
    return response.headers.get("access-control-allow-origin")
