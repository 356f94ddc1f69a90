"""Addresses of messages sent over a chat protocol: digests of the conversation, which the client sends as history.

An address is written before its message is sent, so that it never waits for a reply or for a settlement. It is
removed with its session.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, select, true, update

from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import chat_addresses, sessions
from store.database.upsert import insert_new
from store.sessions.turn_rows import message_key

MAX_CANDIDATES = 20
"""The most addresses that one look-up returns; the best matches are kept."""

_IN_SESSION = chat_addresses.c.session_id == bindparam("of_session", type_=CleanText())
_KEY = _IN_SESSION & (chat_addresses.c.message_key == bindparam("of_message", type_=CleanText()))
_LOCK_SESSION = (
    select(sessions.c.id)
    .where(sessions.c.id == bindparam("of_session"), sessions.c.organization_id == bindparam("organization_id"))
    .with_for_update()
)
_NO_LONGER_NEWEST = update(chat_addresses).where(_IN_SESSION, chat_addresses.c.is_newest).values(is_newest=False)
_SET_SEEN = (
    update(chat_addresses)
    .where(_KEY, chat_addresses.c.asked == bindparam("up_to", type_=CleanText()))
    .values(seen=bindparam("digest", type_=CleanText()))
)
_SET_STOPPED = update(chat_addresses).where(_KEY).values(is_stopped=True)
_DELETE = delete(chat_addresses).where(_KEY)
_NEWEST = (
    select(chat_addresses.c.message_key)
    .where(_IN_SESSION)
    .order_by(chat_addresses.c.created_at.desc(), chat_addresses.c.message_key)
    .limit(1)
)
_SET_NEWEST = update(chat_addresses).where(_KEY).values(is_newest=True)
_ANY_HISTORY = select(chat_addresses.c.session_id).where(_IN_SESSION, chat_addresses.c.has_history).limit(1)
_EXISTING = select(chat_addresses.c.message_key).where(_KEY)
_STOPPED = select(chat_addresses.c.is_stopped).where(_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAddress:
    """The address of one message. `asked` is the digest up to it, `system` that of its session's system messages.

    With `is_whole` the digest begins with the session's first message; only such addresses are found by digest.
    `seen` is the digest up to the reply. `has_history` is true when the client sent earlier messages too.
    """

    session_id: str
    message_key: str
    organization_id: str
    asked: str
    system: str
    is_whole: bool
    has_history: bool
    created_at: datetime
    seen: str | None = None
    is_newest: bool = True
    is_stopped: bool = False


Addresses = list[ChatAddress]


class ChatAddressStore:
    """The addresses of all sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_new(database, chat_addresses, key=["session_id", "message_key"])

    async def add(self, address: ChatAddress) -> bool:
        """Store the address of a message before it is sent. False if it has one, or its session was erased."""
        key = {"of_session": address.session_id}

        def work(connection: Connection) -> bool:
            owned = {**key, "organization_id": address.organization_id}
            if connection.execute(_LOCK_SESSION, owned).one_or_none() is None:
                return False
            if connection.execute(_EXISTING, {**key, "of_message": address.message_key}).one_or_none() is not None:
                return False
            connection.execute(_NO_LONGER_NEWEST, key)
            return bool(connection.execute(self._insert, asdict(address)).rowcount)

        return await self._database.write(work)

    async def complete(self, session_id: str, message_id: str, seen: str, *, asked: str) -> None:
        """Store the digest of a conversation up to the reply to a message, if `asked` is the one up to the message."""
        values = {"of_session": session_id, "of_message": message_key(message_id), "digest": seen, "up_to": asked}
        await self._database.write(lambda connection: connection.execute(_SET_SEEN, values).close(), autocommit=True)

    async def note_stopped(self, session_id: str, message_id: str) -> None:
        """Note that the client does not wait for the reply to a message any more."""
        values = {"of_session": session_id, "of_message": message_key(message_id)}
        await self._database.write(lambda connection: connection.execute(_SET_STOPPED, values).close(), autocommit=True)

    async def remove(self, session_id: str, message_id: str) -> None:
        """Remove the address of a message that was rejected."""
        key = {"of_session": session_id}

        def work(connection: Connection) -> None:
            connection.execute(_DELETE, {**key, "of_message": message_key(message_id)})
            newest = connection.execute(_NEWEST, key).scalar_one_or_none()
            if newest is not None:
                connection.execute(_SET_NEWEST, {**key, "of_message": newest})

        await self._database.write(work)

    async def seen(self, organization_id: str, digest: str, *, system: str, session_id: str | None = None) -> Addresses:
        """The addresses whose digest up to the reply is this one, the best first; of one session if it is given.

        Sessions with the same system messages come first, then those whose newest message it is, then the newest.
        """
        found = _candidates(organization_id, session_id).where(chat_addresses.c.seen == digest)
        return await self._list(found, system)

    async def asked(
        self, organization_id: str, digests: Sequence[str], *, system: str, session_id: str | None = None
    ) -> Addresses:
        """The addresses whose digest up to the message is one of these, in the order of `seen`."""
        found = _candidates(organization_id, session_id).where(chat_addresses.c.asked.in_(digests))
        return await self._list(found, system)

    async def known(self, organization_id: str, digests: Sequence[str]) -> set[str]:
        """Those of the digests that `seen` or `asked` would find in any session of the organization."""
        own = (chat_addresses.c.organization_id == organization_id, chat_addresses.c.is_whole)
        statements = [
            select(column).where(*own, column.in_(digests)).distinct()
            for column in (chat_addresses.c.seen, chat_addresses.c.asked)
        ]

        def work(connection: Connection) -> set[str]:
            return {digest for statement in statements for digest in connection.scalars(statement)}

        return await self._database.read(work)

    async def has_history(self, session_id: str) -> bool:
        """True when a client has sent its history to this session."""
        key = {"of_session": session_id}
        return await self._database.read(lambda connection: connection.scalar(_ANY_HISTORY, key) is not None)

    async def was_stopped(self, session_id: str, message_id: str) -> bool:
        """True when the client has closed the stream of the reply to a message."""
        key = {"of_session": session_id, "of_message": message_key(message_id)}
        return await self._database.read(lambda connection: bool(connection.scalar(_STOPPED, key)))

    async def _list(self, found: Select[*tuple[Any, ...]], system: str) -> Addresses:
        best = found.order_by(
            (chat_addresses.c.system == system).desc(),
            (chat_addresses.c.is_newest == true()).desc(),
            chat_addresses.c.created_at.desc(),
        ).limit(MAX_CANDIDATES)

        def work(connection: Connection) -> Addresses:
            return [ChatAddress(**row._mapping) for row in connection.execute(best)]

        return await self._database.read(work)


def address_of(
    session_id: str,
    message_id: str,
    *,
    organization_id: str,
    asked: str,
    system: str,
    is_whole: bool,
    has_history: bool,
    seen: str | None = None,
) -> ChatAddress:
    """A new address."""
    return ChatAddress(
        session_id=session_id,
        message_key=message_key(message_id),
        organization_id=organization_id,
        asked=asked,
        system=system,
        is_whole=is_whole,
        has_history=has_history,
        created_at=datetime.now(UTC),
        seen=seen,
    )


def _candidates(organization_id: str, session_id: str | None) -> Select[*tuple[Any, ...]]:
    own = select(chat_addresses).where(chat_addresses.c.organization_id == organization_id, chat_addresses.c.is_whole)
    return own if session_id is None else own.where(chat_addresses.c.session_id == session_id)
