"""Agents and their versions. Versions are added and never changed."""

import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, case, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from domain.agents.definition import AgentDefinition
from store.database.column_types import MAX_ROW_NUMBER
from store.database.connection import Database
from store.database.documents import json_text
from store.database.ids import new_id
from store.database.pagination import Page, number_after, page_of
from store.database.tables import agent_documents, agent_versions, agents, sessions, suites
from store.database.upsert import insert_new

MAX_CACHED_BYTES = 16 * 1024 * 1024
"""Size of the in-memory cache, as JSON. Definitions are immutable, so cached ones never become stale."""
MAX_NAMES = 10_000
"""The most agents in the list of names, which has no pages; the newest are kept."""


@dataclass(frozen=True)
class StoredAgent:
    """One version of an agent. `number` is the agent's integer alias, `created_at` that of this version."""

    id: str
    number: int
    organization_id: str
    name: str
    version: int
    definition: AgentDefinition
    warnings: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True)
class AgentName:
    """An agent without its definition. `created_at` is the time of its latest version."""

    id: str
    number: int
    name: str
    created_at: datetime


Agents = list[StoredAgent]
AgentNames = list[AgentName]
AgentRow = Row[str, int, int]

_AGENT = select(
    agents.c.id,
    agents.c.number,
    agents.c.organization_id,
    agents.c.name,
    agent_versions.c.version,
    agent_versions.c.definition,
    agent_versions.c.warnings,
    agent_versions.c.created_at,
).select_from(agents.join(agent_versions, agent_versions.c.agent_id == agents.c.id))
_IS_LATEST = agent_versions.c.version == agents.c.latest_version

MAX_VERSION = 2**31 - 1


class AgentInUse(Exception):
    """The agent has `objects` (sessions or suites), which show its definition."""

    def __init__(self, agent_id: str, objects: str) -> None:
        super().__init__(f"the agent {agent_id} has {objects}")
        self.objects = objects


class AgentStore:
    """Stores agents. Within an organization an agent is found by its name or its id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._definitions: OrderedDict[tuple[str, int], tuple[AgentDefinition, int]] = OrderedDict()
        self._cached_bytes = 0
        self._insert_agent = insert_new(database, agents, key=["organization_id", "name"])
        self._insert_document = insert_new(database, agent_documents, key=["agent_id", "digest"])

    async def add_version(
        self, organization_id: str, definition: AgentDefinition, warnings: tuple[str, ...]
    ) -> StoredAgent:
        """Add a version to the agent of this name, or create the agent.

        A definition equal to the latest version adds nothing; its warnings become those given. Versions count from 1;
        concurrent callers get consecutive versions.
        """

        def work(connection: Connection) -> StoredAgent:
            agent = self._locked(connection, organization_id, definition.name)
            latest = _one(connection, _AGENT.where(agents.c.id == agent.id, _IS_LATEST))
            if latest is not None and latest.definition == definition:
                if latest.warnings != warnings:
                    connection.execute(
                        update(agent_versions)
                        .where(agent_versions.c.agent_id == agent.id, agent_versions.c.version == latest.version)
                        .values(warnings=list(warnings))
                    )
                return replace(latest, warnings=warnings)
            added = StoredAgent(
                id=agent.id,
                number=agent.number,
                organization_id=organization_id,
                name=definition.name,
                version=agent.latest_version + 1,
                definition=definition,
                warnings=warnings,
                created_at=datetime.now(UTC),
            )
            _add_version(connection, added)
            for file in definition.documents:
                if file.sha256 is not None:
                    connection.execute(self._insert_document, {"agent_id": agent.id, "digest": file.sha256})
            return added

        return await self._database.write(work)

    async def find(self, organization_id: str, id_or_name: str, version: int | None = None) -> StoredAgent | None:
        """The given version of an agent, by default the latest. An id takes precedence over an equal name."""
        if version is not None and not 0 < version <= MAX_VERSION:
            return None
        wanted = _IS_LATEST if version is None else agent_versions.c.version == version
        is_id = agents.c.id == id_or_name
        statement = (
            _AGENT.where(agents.c.organization_id == organization_id, wanted)
            .where(is_id | (agents.c.name == id_or_name))
            .order_by(case((is_id, 0), else_=1))
            .limit(1)
        )
        return await self._database.read(lambda connection: _one(connection, statement))

    async def number(self, agent_id: str) -> int:
        """The integer alias of an agent. Raises LookupError."""
        statement = select(agents.c.number).where(agents.c.id == agent_id)
        number: int | None = await self._database.read(lambda connection: connection.scalar(statement))
        if number is None:
            raise LookupError(f"there is no agent {agent_id}")
        return number

    async def numbered(self, organization_id: str, number: int) -> StoredAgent | None:
        """The latest version of the agent with this integer alias."""
        if not 0 < number <= MAX_ROW_NUMBER:
            return None
        statement = _AGENT.where(agents.c.organization_id == organization_id, agents.c.number == number, _IS_LATEST)
        return await self._database.read(lambda connection: _one(connection, statement))

    async def list(self, organization_id: str, limit: int, cursor: str | None = None) -> Page[StoredAgent]:
        """The latest version of every agent, newest agent first. Raises ValueError for an invalid cursor."""
        statement = (
            _AGENT.where(agents.c.organization_id == organization_id, _IS_LATEST)
            .order_by(agents.c.number.desc())
            .limit(limit + 1)
        )
        if cursor is not None:
            statement = statement.where(agents.c.number < number_after(cursor))

        def work(connection: Connection) -> Agents:
            return [_agent(row) for row in connection.execute(statement)]

        rows = await self._database.read(work)
        return page_of(rows, limit, lambda agent: (agent.number,))

    async def names(self, organization_id: str) -> AgentNames:
        """The newest agents without their definitions, newest agent first."""
        statement = (
            select(agents.c.id, agents.c.number, agents.c.name, agent_versions.c.created_at)
            .select_from(agents.join(agent_versions, agent_versions.c.agent_id == agents.c.id))
            .where(agents.c.organization_id == organization_id, _IS_LATEST)
            .order_by(agents.c.number.desc())
            .limit(MAX_NAMES)
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [AgentName(*row) for row in rows]

    async def models(self, organization_id: str, limit: int) -> set[str]:
        """The models that the newest agents name."""
        model = json_text(self._database, agent_versions.c.definition, "model").label("model")
        newest = (
            select(model)
            .select_from(agents.join(agent_versions, agent_versions.c.agent_id == agents.c.id))
            .where(agents.c.organization_id == organization_id, _IS_LATEST)
            .order_by(agents.c.number.desc())
            .limit(limit)
            .subquery()
        )
        statement = select(newest.c.model).distinct()
        found = await self._database.read(lambda connection: connection.scalars(statement).all())
        return {each if self._database.is_sqlite else json.loads(each) for each in found if each not in (None, "null")}

    async def versions(self, agent_id: str, limit: int, cursor: str | None = None) -> Page[StoredAgent]:
        """The versions of an agent, newest first. Raises ValueError for an invalid cursor."""
        statement = _AGENT.where(agents.c.id == agent_id).order_by(agent_versions.c.version.desc()).limit(limit + 1)
        if cursor is not None:
            statement = statement.where(agent_versions.c.version < min(number_after(cursor), MAX_VERSION))

        def work(connection: Connection) -> Agents:
            return [_agent(row) for row in connection.execute(statement)]

        rows = await self._database.read(work)
        return page_of(rows, limit, lambda agent: (agent.version,))

    async def definition(self, agent_id: str, version: int) -> AgentDefinition:
        """The definition of one version, cached. Raises LookupError when there is no such version."""
        key = (agent_id, version)
        if key in self._definitions:
            self._definitions.move_to_end(key)
            return self._definitions[key][0]
        text = await self._read_definition(agent_id, version)
        definition = AgentDefinition.model_validate_json(text)
        self._forget(key)  # another caller may have read it meanwhile
        self._definitions[key] = definition, len(text)
        self._cached_bytes += len(text)
        while self._cached_bytes > MAX_CACHED_BYTES:
            self._forget(next(iter(self._definitions)))
        return definition

    async def erase(self, organization_id: str, agent_id: str) -> tuple[str, ...] | None:
        """Delete an agent with all its versions. Returns the digests of the documents that it searched.

        Returns None when there is no such agent. Raises AgentInUse while sessions or suites belong to it.
        """

        def work(connection: Connection) -> tuple[str, ...] | None:
            own = (agents.c.organization_id == organization_id) & (agents.c.id == agent_id)
            if connection.execute(select(agents.c.id).where(own).with_for_update()).one_or_none() is None:
                return None
            for table in (sessions, suites):
                if connection.execute(select(table.c.id).where(table.c.agent_id == agent_id).limit(1)).first():
                    raise AgentInUse(agent_id, table.name)
            digests = select(agent_documents.c.digest).where(agent_documents.c.agent_id == agent_id)
            searched = tuple(connection.scalars(digests))
            connection.execute(delete(agent_versions).where(agent_versions.c.agent_id == agent_id))
            connection.execute(delete(agents).where(own))
            return searched

        try:
            return await self._database.write(work)
        except IntegrityError as error:  # a session was opened at the same time
            raise AgentInUse(agent_id, sessions.name) from error

    def _forget(self, key: tuple[str, int]) -> None:
        if key in self._definitions:
            self._cached_bytes -= self._definitions.pop(key)[1]

    async def _read_definition(self, agent_id: str, version: int) -> str:
        statement = select(agent_versions.c.definition).where(
            agent_versions.c.agent_id == agent_id, agent_versions.c.version == version
        )
        text: str | None = await self._database.read(lambda connection: connection.scalar(statement))
        if text is None:
            raise LookupError(f"there is no version {version} of agent {agent_id}")
        return text

    def _locked(self, connection: Connection, organization_id: str, name: str) -> AgentRow:
        """The agent's row, created if there was none, and locked until the transaction ends."""
        statement = (
            select(agents.c.id, agents.c.number, agents.c.latest_version)
            .where(agents.c.organization_id == organization_id, agents.c.name == name)
            .with_for_update()
        )
        agent = connection.execute(statement).one_or_none()
        if agent is None:
            values = {"id": new_id("agt"), "organization_id": organization_id, "name": name, "latest_version": 0}
            connection.execute(self._insert_agent, values)
            agent = connection.execute(statement).one_or_none()
        if agent is None:
            raise LookupError(f"agent {name!r} was deleted while a version was added")
        return agent


def _add_version(connection: Connection, agent: StoredAgent) -> None:
    values = {
        "agent_id": agent.id,
        "version": agent.version,
        "definition": agent.definition.model_dump_json(),
        "warnings": list(agent.warnings),
        "created_at": agent.created_at,
    }
    connection.execute(insert(agent_versions), values)
    connection.execute(update(agents).where(agents.c.id == agent.id).values(latest_version=agent.version))


def _one(connection: Connection, statement: Select[*tuple[Any, ...]]) -> StoredAgent | None:
    row = connection.execute(statement).one_or_none()
    return _agent(row) if row is not None else None


def _agent(row: Row[*tuple[Any, ...]]) -> StoredAgent:
    return StoredAgent(
        id=row.id,
        number=row.number,
        organization_id=row.organization_id,
        name=row.name,
        version=row.version,
        definition=AgentDefinition.model_validate_json(row.definition),
        warnings=tuple(row.warnings),
        created_at=row.created_at,
    )
