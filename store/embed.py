"""Embed tokens, with which pages of other sites open public chats, and the sessions that were opened with them."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from pydantic import JsonValue
from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.ids import new_id
from store.database.tables import embed_sessions, embed_tokens

TOKEN_PREFIX: Final = "emb_"
SESSION_PREFIX: Final = "emb_session_"
_SECRET_BYTES = 32
"""Gives 43 characters in URL-safe base64. A secret of 256 random bits needs no slow hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedToken:
    """A token without its secret, for chats with one agent of one organization.

    `agent_version` None means the latest version, `max_sessions` None any number of sessions. `settings` are those of
    dograh's widget. `last4` are the last four characters of the secret.
    """

    id: str
    organization_id: str
    agent_id: str
    agent_version: int | None
    name: str
    last4: str
    origins: tuple[str, ...]
    settings: Mapping[str, JsonValue]
    max_sessions: int | None
    session_count: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class EmbedSession:
    """A session that was opened with an embed token, and that token as it is now."""

    session_id: str
    expires_at: datetime
    token: EmbedToken


Tokens = list[EmbedToken]
OriginLists = list[Sequence[str]]

_TOKEN_COLUMNS = [column for column in embed_tokens.columns if column.name != "secret_sha256"]
_TOKENS = select(*_TOKEN_COLUMNS).order_by(embed_tokens.c.created_at, embed_tokens.c.id)
_TOKEN_OF_SECRET = select(*_TOKEN_COLUMNS).where(embed_tokens.c.secret_sha256 == bindparam("secret_sha256"))
_SESSION_OF_SECRET = (
    select(embed_sessions.c.session_id, embed_sessions.c.expires_at.label("session_expires_at"), *_TOKEN_COLUMNS)
    .join(embed_tokens, embed_tokens.c.id == embed_sessions.c.token_id)
    .where(embed_sessions.c.secret_sha256 == bindparam("secret_sha256"))
)
_ORIGINS = select(embed_tokens.c.origins).where(embed_tokens.c.revoked_at.is_(None))
_COUNT_SESSION = (
    update(embed_tokens)
    .where(embed_tokens.c.id == bindparam("token_id", type_=CleanText()), embed_tokens.c.revoked_at.is_(None))
    .where(or_(embed_tokens.c.max_sessions.is_(None), embed_tokens.c.session_count < embed_tokens.c.max_sessions))
    .values(session_count=embed_tokens.c.session_count + 1)
)


class EmbedStore:
    """Creates, finds and revokes embed tokens. Nothing is cached, so that a revocation takes effect at once.

    Secrets of tokens and of sessions are stored as digests only.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        organization_id: str,
        agent_id: str,
        name: str,
        *,
        origins: Collection[str],
        agent_version: int | None = None,
        settings: Mapping[str, JsonValue] | None = None,
        max_sessions: int | None = None,
        expires_at: datetime | None = None,
        at: datetime,
    ) -> tuple[EmbedToken, str]:
        """Create a token for an agent of the organization; returns it with its secret, which cannot be read again."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        token = EmbedToken(
            id=new_id("embed"),
            organization_id=organization_id,
            agent_id=agent_id,
            agent_version=agent_version,
            name=name,
            last4=secret[-4:],
            origins=tuple(origins),
            settings=dict(settings or {}),
            max_sessions=max_sessions,
            session_count=0,
            created_at=at,
            expires_at=expires_at,
            revoked_at=None,
        )
        values = {column.name: getattr(token, column.name) for column in _TOKEN_COLUMNS}
        values |= {"origins": list(token.origins), "secret_sha256": _digest(secret)}
        await self._database.write(
            lambda connection: connection.execute(insert(embed_tokens), values).close(), autocommit=True
        )
        return token, secret

    async def find(self, secret: str) -> EmbedToken | None:
        """The token with this secret, also an expired or revoked one."""
        key = {"secret_sha256": _digest(secret)}
        row = await self._database.read(lambda connection: connection.execute(_TOKEN_OF_SECRET, key).one_or_none())
        return None if row is None else _token(row)

    async def list(self) -> Tokens:
        """Every token of every organization, revoked ones included, oldest first."""
        return await self._database.read(lambda connection: [_token(row) for row in connection.execute(_TOKENS)])

    async def origins(self) -> OriginLists:
        """The origins of every token that was not revoked."""
        return await self._database.read(lambda connection: list(connection.scalars(_ORIGINS)))

    async def revoke(self, token_id: str, at: datetime) -> bool:
        """Revoke a token, with the sessions opened with it. False when there is none or it was revoked before."""
        statement = (
            update(embed_tokens)
            .where(embed_tokens.c.id == token_id, embed_tokens.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        return await self._database.write(
            lambda connection: connection.execute(statement).rowcount == 1, autocommit=True
        )

    async def count_session(self, token_id: str) -> bool:
        """Count a session that is about to be opened. False when the token may open no more, or was revoked."""
        key = {"token_id": token_id}
        return await self._database.write(
            lambda connection: connection.execute(_COUNT_SESSION, key).rowcount == 1, autocommit=True
        )

    async def add_session(self, token_id: str, session_id: str, *, at: datetime, lifetime: timedelta) -> str:
        """Store a session that was opened with a token; returns the visitor's secret, which cannot be read again."""
        secret = SESSION_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        values = {
            "secret_sha256": _digest(secret),
            "token_id": token_id,
            "session_id": session_id,
            "created_at": at,
            "expires_at": at + lifetime,
        }

        def work(connection: Connection) -> None:
            connection.execute(insert(embed_sessions), values).close()

        await self._database.write(work, autocommit=True)
        return secret

    async def session(self, secret: str) -> EmbedSession | None:
        """The session with this secret, also an expired one; None if it was erased or its token was deleted."""
        key = {"secret_sha256": _digest(secret)}
        row = await self._database.read(lambda connection: connection.execute(_SESSION_OF_SECRET, key).one_or_none())
        return None if row is None else EmbedSession(row.session_id, row.session_expires_at, _token(row))


def _token(row: Row[*tuple[Any, ...]]) -> EmbedToken:
    values = {column.name: row._mapping[column.name] for column in _TOKEN_COLUMNS}
    return EmbedToken(**{**values, "origins": tuple(values["origins"])})


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
