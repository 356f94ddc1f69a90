"""The read model of sessions as of their last settlement: lists, single sessions, turns and discarded branches."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal

from pydantic import JsonValue
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    Text,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
)

from domain.sessions.timeline import DiscardedBranch
from domain.sessions.views import SessionHead
from domain.turns.turn import SessionStatus, Turn
from domain.usage import Cost
from store.billing.billed_sessions import BilledFilter
from store.database.column_types import MAX_ROW_NUMBER, CleanText, Number, UtcDateTime
from store.database.connection import Database
from store.database.documents import json_text
from store.database.pagination import Page, cursor_at, moment_and_number_after, page_of
from store.database.tables import agents, branches, sessions, turns
from store.database.upsert import insert_new
from store.sessions.erasure import require_not_erased
from store.sessions.run_filters import RunFilters, order
from store.sessions.turn_rows import message_key

Ids = list[str]
Turns = list[Turn]
Branches = list[DiscardedBranch]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session before its workflow starts. `model` is pinned for the whole session."""

    id: str
    organization_id: str
    agent_id: str
    agent_version: int
    agent_name: str
    agent_number: int
    name: str
    model: str
    created_at: datetime
    initial_context: dict[str, JsonValue]
    annotations: dict[str, JsonValue]
    simulator: dict[str, JsonValue] | None = None
    suite_id: str | None = None
    forked_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession(NewSession):
    """A stored session. `number` is its integer alias.

    `head` is its state at `recorded_at`, the time of the last settlement; both are None before the first.
    """

    number: int
    head: SessionHead | None = None
    recorded_at: datetime | None = None


Sessions = list[StoredSession]

_INSERT = insert(sessions).returning(sessions.c.number)
_BY_ID = select(sessions).where(
    sessions.c.id == bindparam("session_id"), sessions.c.organization_id == bindparam("organization_id")
)
_BY_NUMBER = select(sessions).where(
    sessions.c.number == bindparam("number"), sessions.c.organization_id == bindparam("organization_id")
)
_IN_SESSION = turns.c.session_id == bindparam("session_id", type_=CleanText())
_AFTER_ALL = 2**31 - 1
_NO_FILTERS = RunFilters()
SessionOrder = Literal["newest", "updated"]
MAX_SEARCHED = 2_000
"""Sessions that one page of a search looks at, however many the organization has."""
MAX_CREATE_ATTEMPTS = 5
"""Attempts to create a session whose row another process keeps inserting and removing."""


def _turns_of_branch() -> Select[str]:
    """The newest `limit` turns before `before_index` on the way from `leaf_turn_id` to its root, oldest first.

    The walk reads ids by primary key and ends at the oldest requested turn; only requested documents are read.
    """
    before = bindparam("before_index", type_=Integer())
    end = case((turns.c.idx < before, turns.c.idx + 1), else_=before)
    start = (end - bindparam("limit", type_=Integer())).label("start")
    is_leaf = _IN_SESSION & (turns.c.id == bindparam("leaf_turn_id", type_=CleanText()))
    leaf = select(turns.c.session_id, turns.c.id, turns.c.parent_id, turns.c.idx, start).where(is_leaf)
    path = leaf.cte("path", recursive=True)
    parent = turns.alias("parent")
    is_parent = (parent.c.session_id == path.c.session_id) & (parent.c.id == path.c.parent_id)
    path = path.union_all(
        select(parent.c.session_id, parent.c.id, parent.c.parent_id, parent.c.idx, path.c.start)
        .join_from(path, parent, is_parent)
        .where(path.c.idx > path.c.start)
    )
    is_on_path = (turns.c.session_id == path.c.session_id) & (turns.c.id == path.c.id)
    return (
        select(turns.c.document)
        .join_from(path, turns, is_on_path)
        .where(path.c.idx >= path.c.start, path.c.idx < before)
        .order_by(path.c.idx)
    )


def _path() -> Select[str]:
    """The ids of the turns from the root to `leaf_turn_id`, without reading documents."""
    is_leaf = _IN_SESSION & (turns.c.id == bindparam("leaf_turn_id", type_=CleanText()))
    leaf = select(turns.c.session_id, turns.c.id, turns.c.parent_id, turns.c.idx).where(is_leaf)
    path = leaf.cte("path", recursive=True)
    parent = turns.alias("parent")
    is_parent = (parent.c.session_id == path.c.session_id) & (parent.c.id == path.c.parent_id)
    path = path.union_all(
        select(parent.c.session_id, parent.c.id, parent.c.parent_id, parent.c.idx).join_from(path, parent, is_parent)
    )
    return select(path.c.id).order_by(path.c.idx)


def _costs_of_branch(database: Database) -> Select[str, str | None]:
    """The ids of the turns from `leaf_turn_id` back to, and without, `before_turn_id`, with their costs as JSON."""
    is_leaf = _IN_SESSION & (turns.c.id == bindparam("leaf_turn_id", type_=CleanText()))
    leaf = select(turns.c.session_id, turns.c.id, turns.c.parent_id).where(is_leaf)
    path = leaf.cte("path", recursive=True)
    parent = turns.alias("parent")
    is_parent = (
        (parent.c.session_id == path.c.session_id)
        & (parent.c.id == path.c.parent_id)
        & (parent.c.id != bindparam("before_turn_id", type_=CleanText()))
    )
    path = path.union_all(
        select(parent.c.session_id, parent.c.id, parent.c.parent_id).join_from(path, parent, is_parent)
    )
    is_on_path = (turns.c.session_id == path.c.session_id) & (turns.c.id == path.c.id)
    cost = json_text(database, turns.c.document, "cost")
    return select(turns.c.id, cost).join_from(path, turns, is_on_path).order_by(turns.c.idx)


_TURNS_OF_BRANCH = _turns_of_branch()
_PATH = _path()
_TURN_OF_MESSAGE = (
    select(turns.c.document)
    .where(_IN_SESSION, turns.c.message_key == bindparam("message_key"))
    .order_by(turns.c.created_at)
    .limit(1)
)
_PARENTS = (
    select(turns.c.id, turns.c.parent_id).where(_IN_SESSION).order_by(turns.c.created_at, turns.c.idx, turns.c.id)
)
_BRANCHES = select(branches).where(branches.c.session_id == bindparam("session_id")).order_by(branches.c.discarded_at)


class SessionStore:
    """The read model of sessions. Settlement keeps it up to date; the current state is in the session's workflow."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_once = insert_new(database, sessions, key=["id"]).returning(sessions.c.number)
        self._branch_costs = _costs_of_branch(database)

    async def create(self, session: NewSession) -> StoredSession:
        """Store a session before its workflow starts. `list` includes it after its first settlement."""
        values = {**asdict(session), "event_count": 0}
        number = await self._database.write(
            lambda connection: connection.execute(_INSERT, values).scalar_one(), autocommit=True
        )
        return StoredSession(**asdict(session), number=number)

    async def create_once(self, session: NewSession) -> StoredSession:
        """Create a session with a derived id, or return the one that an earlier call with this id has created.

        The database decides between concurrent calls, also those of other processes. Raises SessionErased for the
        id of an erased session.
        """
        values = {**asdict(session), "event_count": 0}
        key = {"organization_id": session.organization_id, "session_id": session.id}

        def work(connection: Connection) -> StoredSession | None:
            number = connection.execute(self._insert_once, values).scalar_one_or_none()
            require_not_erased(connection, session.id)
            if number is not None:
                return StoredSession(**asdict(session), number=number)
            row = connection.execute(_BY_ID, key).one_or_none()
            return session_of(row) if row is not None else None

        for _ in range(MAX_CREATE_ATTEMPTS):
            created = await self._database.write(work)
            if created is not None:
                return created
        raise LookupError(f"session {session.id} was removed while it was created")

    async def discard_unstarted(self, session_id: str) -> None:
        """Delete a session whose workflow could not be started. A session that was ever settled stays."""
        statement = delete(sessions).where(sessions.c.id == session_id, sessions.c.recorded_at.is_(None))
        await self._database.write(lambda connection: connection.execute(statement).close(), autocommit=True)

    async def find(self, organization_id: str, session_id: str) -> StoredSession | None:
        """The organization's session with this id."""
        key = {"organization_id": organization_id, "session_id": session_id}
        row = await self._database.read(lambda connection: connection.execute(_BY_ID, key).one_or_none())
        return session_of(row) if row is not None else None

    async def numbered(self, organization_id: str, number: int) -> StoredSession | None:
        """The organization's session with this integer alias."""
        if not 0 < number <= MAX_ROW_NUMBER:
            return None
        key = {"organization_id": organization_id, "number": number}
        row = await self._database.read(lambda connection: connection.execute(_BY_NUMBER, key).one_or_none())
        return session_of(row) if row is not None else None

    async def organization_of(self, session_id: str) -> str | None:
        """The organization of a session, which never changes; None for an unknown session."""
        statement = select(sessions.c.organization_id).where(sessions.c.id == session_id)
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one_or_none())

    async def turns(self, session_id: str, *, leaf_turn_id: str, limit: int, before_index: int | None = None) -> Turns:
        """Turns of the branch that ends at a leaf: the newest `limit` before an index, oldest first.

        Empty when the leaf has not been recorded.
        """
        key = {
            "session_id": session_id,
            "leaf_turn_id": leaf_turn_id,
            "limit": limit,
            "before_index": _AFTER_ALL if before_index is None else min(before_index, _AFTER_ALL),
        }
        documents = await self._database.read(lambda connection: connection.scalars(_TURNS_OF_BRANCH, key).all())
        return [Turn.model_validate_json(document) for document in documents]

    async def path(self, session_id: str, leaf_turn_id: str) -> Ids:
        """The ids of the turns from the root to a leaf. Empty when the leaf has not been recorded."""
        key = {"session_id": session_id, "leaf_turn_id": leaf_turn_id}
        return list(await self._database.read(lambda connection: connection.scalars(_PATH, key).all()))

    async def parents(self, session_id: str) -> dict[str, str | None]:
        """The parent of every recorded turn, by the turn's id, in the order in which the turns were opened."""
        key = {"session_id": session_id}
        rows = await self._database.read(lambda connection: connection.execute(_PARENTS, key).all())
        return {row.id: row.parent_id for row in rows}

    async def turns_of(self, session_id: str, turn_ids: Ids) -> Turns:
        """The recorded turns with these ids, in no order."""
        statement = select(turns.c.document).where(turns.c.session_id == session_id, turns.c.id.in_(turn_ids))
        documents = await self._database.read(lambda connection: connection.scalars(statement).all())
        return [Turn.model_validate_json(document) for document in documents]

    async def turns_with(self, session_id: str, words: str) -> set[str]:
        """The ids of the recorded turns whose JSON documents contain these words, ignoring case.

        Names of members count too, so that a turn may be found that does not show the words.
        """
        written = json.dumps(words, ensure_ascii=False)[1:-1]
        statement = select(turns.c.id).where(
            turns.c.session_id == session_id, turns.c.document.icontains(written, autoescape=True)
        )
        return set(await self._database.read(lambda connection: connection.scalars(statement).all()))

    async def branches(self, session_id: str) -> Branches:
        """The discarded branches, oldest first."""
        key = {"session_id": session_id}
        rows = await self._database.read(lambda connection: connection.execute(_BRANCHES, key).all())
        return [DiscardedBranch.model_validate(row._asdict()) for row in rows]

    async def branch_costs(self, session_id: str, branch: DiscardedBranch) -> dict[str, Cost]:
        """The cost of every recorded turn of a discarded branch, by the turn's id, oldest first."""
        key = {
            "session_id": session_id,
            "leaf_turn_id": branch.leaf_turn_id,
            "before_turn_id": branch.rewound_from_turn_id or "",
        }
        rows = await self._database.read(lambda connection: connection.execute(self._branch_costs, key).all())
        return {turn_id: Cost.model_validate_json(cost) if cost else Cost() for turn_id, cost in rows}

    async def turn_of_message(self, session_id: str, message_id: str) -> Turn | None:
        """The turn of a message."""
        key = {"session_id": session_id, "message_key": message_key(message_id)}
        document = await self._database.read(
            lambda connection: connection.execute(_TURN_OF_MESSAGE, key).scalar_one_or_none()
        )
        return Turn.model_validate_json(document) if document is not None else None

    async def list(
        self,
        organization_id: str,
        *,
        status: SessionStatus | None = None,
        agent: str | None = None,
        agent_version: int | None = None,
        suite: str | None = None,
        created_after: datetime | None = None,
        forked_from: str | None = None,
        billed: BilledFilter | None = None,
        search: str | None = None,
        order: SessionOrder = "newest",
        limit: int,
        cursor: str | None = None,
    ) -> Page[StoredSession]:
        """Sessions that were settled at least once, newest first or last changed first. `agent` is an id or a name.

        `search` is looked for in names, ids, tags, dispositions, completion reasons and initial contexts. A page
        searches the next `MAX_SEARCHED` sessions only, so it may hold few matches or none and still have a next page.

        Raises ValueError for an invalid cursor.
        """
        by_time = sessions.c.created_at if order == "newest" else sessions.c.updated_at
        newest_first = (by_time, sessions.c.number)
        statement = select(sessions).where(
            sessions.c.organization_id == organization_id, sessions.c.recorded_at.is_not(None)
        )
        if status is not None:
            statement = statement.where(sessions.c.status == status)
        if agent is not None:
            statement = statement.where(sessions.c.agent_id == agent_id_of(organization_id, agent))
        if agent_version is not None:
            statement = statement.where(sessions.c.agent_version == agent_version)
        if suite is not None:
            statement = statement.where(sessions.c.suite_id == suite)
        if created_after is not None:
            statement = statement.where(sessions.c.created_at > created_after)
        if forked_from is not None:
            statement = statement.where(sessions.c.forked_from == forked_from)
        if billed is not None:
            billed_ids = billed.session_ids(organization_id, is_sqlite=self._database.is_sqlite)
            statement = statement.where(sessions.c.id.in_(billed_ids))
        if cursor is not None:
            moment, number = moment_and_number_after(cursor)
            older = tuple_(literal(moment, UtcDateTime()), literal(number, Number))
            statement = statement.where(tuple_(*newest_first) < older)
        statement = statement.order_by(*(column.desc() for column in newest_first))
        searched: Row[datetime, int] | None = None
        if search is not None:
            numbers = statement.with_only_columns(*newest_first)
            end = numbers.offset(MAX_SEARCHED - 1).limit(1)
            searched = await self._database.read(lambda connection: connection.execute(end).one_or_none())
            window = numbers.limit(MAX_SEARCHED).subquery()
            statement = statement.join(window, window.c.number == sessions.c.number).where(self._has_text(search))

        def work(connection: Connection) -> Sessions:
            return [session_of(row) for row in connection.execute(statement.limit(limit + 1))]

        found = await self._database.read(work)
        if searched is not None and len(found) <= limit:
            return Page(tuple(found), cursor_at((searched[0], searched[1])))
        return page_of(found, limit, lambda session: (_time_of(session, order), session.number))

    async def positions(self, listed: Collection[StoredSession]) -> dict[str, int]:
        """The index of the newest visible turn of sessions, by their ids. Those without turns are left out."""
        keys = [(each.id, each.head.head_turn_id) for each in listed if each.head and each.head.head_turn_id]
        if not keys:
            return {}
        statement = select(turns.c.session_id, turns.c.idx).where(tuple_(turns.c.session_id, turns.c.id).in_(keys))
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return {row.session_id: row.idx for row in rows}

    def _has_text(self, search: str) -> ColumnElement[bool]:
        """SQL for the sessions with a text in one of the fields that `list` searches, ignoring case."""
        paths = ("gathered_context", "call_tags"), ("gathered_context", "call_disposition"), ("completion_reason",)
        endings = (json_text(self._database, sessions.c.head, *path) for path in paths)
        texts = (sessions.c.name, sessions.c.id, cast(sessions.c.initial_context, Text()), *endings)
        return or_(*(each.icontains(search, autoescape=True) for each in texts))

    async def numbered_page(
        self,
        organization_id: str,
        agent_id: str,
        *,
        filters: RunFilters = _NO_FILTERS,
        by_duration: bool = False,
        ascending: bool = False,
        limit: int,
        offset: int,
    ) -> tuple[Sessions, int]:
        """A page of an agent's settled sessions, newest first by default, and the number of all that match."""
        is_sqlite = self._database.is_sqlite
        own = (
            sessions.c.organization_id == organization_id,
            sessions.c.agent_id == agent_id,
            sessions.c.recorded_at.is_not(None),
            *filters.conditions(is_sqlite=is_sqlite),
        )
        columns = order(by_duration=by_duration, ascending=ascending, is_sqlite=is_sqlite)
        page = select(sessions).where(*own).order_by(*columns).limit(limit).offset(offset)
        total = select(func.count()).select_from(sessions).where(*own)

        def work(connection: Connection) -> tuple[Sessions, int]:
            found = [session_of(row) for row in connection.execute(page)]
            return found, connection.execute(total).scalar_one()

        return await self._database.read(work)

    async def counts(self, organization_id: str) -> dict[str, int]:
        """The numbers of settled sessions by the ids of their agents; agents without any are left out."""
        statement = (
            select(sessions.c.agent_id, func.count().label("number"))
            .where(sessions.c.organization_id == organization_id, sessions.c.recorded_at.is_not(None))
            .group_by(sessions.c.agent_id)
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return {row.agent_id: row.number for row in rows}


def agent_id_of(organization_id: str, id_or_name: str) -> ColumnElement[str]:
    """SQL for the id of an agent that is given by id or by name."""
    own = select(agents.c.id).where(agents.c.organization_id == organization_id)
    by_id = own.where(agents.c.id == id_or_name).scalar_subquery()
    by_name = own.where(agents.c.name == id_or_name).scalar_subquery()
    return func.coalesce(by_id, by_name)


def _time_of(session: StoredSession, order: SessionOrder) -> datetime:
    if order == "newest" or session.head is None:
        return session.created_at
    return session.head.updated_at


def session_of(row: Row[*tuple[Any, ...]]) -> StoredSession:
    stored = {name: value for name, value in row._mapping.items() if name in _FIELDS}
    head = SessionHead.model_validate_json(row.head) if row.head is not None else None
    return StoredSession(**{**stored, "head": head})


_FIELDS = {field.name for field in fields(StoredSession)}
