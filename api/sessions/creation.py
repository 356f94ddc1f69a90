"""Creation of sessions: first the row in the store, then the workflow, then the agent's greeting."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from secrets import choice, token_hex
from typing import Final, NoReturn

from pydantic import JsonValue

from api.http.problems import PROBLEM_TYPES, Problem, not_found, unavailable
from api.schemas.requests import NewSession
from api.sessions.reader import SessionReader
from api.sessions.snapshots import Snapshot
from api.sessions.spending_limits import SpendingLimits
from api.temporal.deletion import WorkflowDeletion
from api.temporal.errors import SessionClosed, WaitTimedOut
from api.temporal.session_client import SessionClient
from contracts.sessions import AgentRef, StartSession, Timing, session_workflow_id
from contracts.webhooks import WebhookTarget
from domain.agents.definition import AgentDefinition
from domain.sessions.command_handlers import fork
from domain.sessions.timeline import Timeline
from domain.turns.turn import Turn
from store.agents import AgentStore, StoredAgent
from store.database.ids import keyed_id
from store.organizations import Terms
from store.sessions.erasure import ErasureStore, SessionErased
from store.sessions.forks import ForkStore
from store.sessions.sessions import NewSession as SessionRow
from store.sessions.sessions import SessionStore, StoredSession

NAME_PREFIX: Final = "WR-TEXT-"
_NAME_CHARACTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without 0 and O, 1 and I, which are easily confused when read aloud."""
_OTHER_SESSION: Final = "The Idempotency-Key was already used for another session. Use a new key for a new session."

_StartWorkflow = Callable[[StartSession], Awaitable[object]]


def new_session_id() -> str:
    """A new unique session id."""
    return f"ses_{token_hex(12)}"


class SessionCreator:
    """Creates sessions. The row of one that Temporal did not start is removed, unless a repeated call can start it."""

    def __init__(
        self,
        session_client: SessionClient,
        session_reader: SessionReader,
        sessions: SessionStore,
        agents: AgentStore,
        *,
        forks: ForkStore,
        erasures: ErasureStore,
        workflow_deletion: WorkflowDeletion,
        spending_limits: SpendingLimits,
        model: str,
        timing: Timing,
        webhook_url: str | None,
    ) -> None:
        self._session_client = session_client
        self._session_reader = session_reader
        self._sessions = sessions
        self._agents = agents
        self._forks = forks
        self._erasures = erasures
        self._workflow_deletion = workflow_deletion
        self._spending_limits = spending_limits
        self._model = model
        self._timing = timing
        self._webhook_url = webhook_url

    async def create(
        self, organization_id: str, wanted: NewSession, key: str | None = None
    ) -> tuple[StoredSession, Snapshot]:
        """Create a session and wait for the greeting. A greeting that failed at the model is returned like any turn.

        With an idempotency `key` a repeat returns the session of the first call. Raises Problem("quota_exceeded") at
        the spending limit, Problem("not_found") for an unknown agent, Problem("unavailable") when the session was not
        started, Problem("wait_timeout") when it was but the greeting took too long, Problem("idempotency_mismatch")
        for the key of another session, and Problem("session_erased") for that of an erased one.
        """
        session, started = await self._prepared(organization_id, wanted, key, self._session_client.open)
        await started()
        return session, await self._session_reader.now(session)

    async def create_once(
        self, organization_id: str, wanted: NewSession, session_id: str, timeline: Timeline | None = None
    ) -> StoredSession:
        """Create a session with the given id, or return the one that an earlier call created.

        Waits for the greeting, which a given `timeline` already has. Concurrent calls, also from several processes,
        return the same session. Raises Problem("session_erased") if it was erased, else as `create` does; after an
        error the call can be repeated.
        """
        known = await self._sessions.find(organization_id, session_id)
        if known is None or known.recorded_at is None:
            known, start = await self._stored_once(organization_id, wanted, session_id)
            start = start.model_copy(update={"timeline": timeline})
            await self._start_once(known, start, self._session_client.open)
        self._session_reader.remember(known)
        return known

    async def _stored_once(
        self, organization_id: str, wanted: NewSession, session_id: str
    ) -> tuple[StoredSession, StartSession]:
        """Store a session under an id, or find it, and return it with the input of its workflow."""
        terms = await self._spending_limits.require(organization_id)
        agent = await self._agent(organization_id, wanted.agent.id, wanted.agent.version)
        try:
            session = await self._sessions.create_once(self._row(session_id, organization_id, agent, wanted))
        except SessionErased as error:
            raise _erased() from error
        if (session.agent_id, session.agent_version) != (agent.id, agent.version):
            agent = await self._agent(organization_id, session.agent_id, session.agent_version)
        start = self._start(session, _limited(agent.definition, wanted), terms)
        return session, start.model_copy(update={"simulator": wanted.caller})

    async def _start_once(self, session: StoredSession, start: StartSession, start_workflow: _StartWorkflow) -> None:
        """Start the workflow of a session with a derived id, or join it. The row stays whatever happens."""
        try:
            await start_workflow(start)
        except WaitTimedOut as error:
            if await self._session_client.was_started(session.id):
                raise self._greeting_timeout(session) from error
            raise _started_too_late() from error
        except SessionClosed as error:
            # Its workflow has ended, unless Temporal rejected the start.
            if not await self._session_client.was_started(session.id):
                raise _start_rejected() from error
        if await self._erasures.was_erased(session.organization_id, session.id):
            # Erased after it was found in the store: Temporal no longer had its workflow and started a new one.
            await self._workflow_deletion.delete(session_workflow_id(session.id))
            raise _erased()

    async def create_without_greeting(
        self, organization_id: str, wanted: NewSession, key: str | None = None
    ) -> tuple[StoredSession, Snapshot]:
        """Create a session without waiting for its greeting; a repeat with its idempotency `key` finds it."""
        session, started = await self._prepared(organization_id, wanted, key, self._session_client.start)
        await started()
        return session, await self._session_reader.recorded(session)

    async def prepare(
        self, organization_id: str, wanted: NewSession, key: str | None = None
    ) -> tuple[StoredSession, Callable[[], Coroutine[None, None, Turn]]]:
        """Store a session, and return it with the function that starts it and returns its greeting.

        A new session has no events before that function runs, so a watcher misses none. Both raise as `create` does.
        """
        session, started = await self._prepared(organization_id, wanted, key, self._session_client.open)

        async def opened() -> Turn:
            await started()
            return (await self._session_reader.whole(session)).turns[0]

        return session, opened

    async def create_fork(
        self,
        source: StoredSession,
        agent: StoredAgent,
        turns: Sequence[Turn],
        wanted: NewSession,
        *,
        model: str | None,
        session_id: str | None,
    ) -> tuple[StoredSession, Snapshot]:
        """Create a session that continues from the last of these turns of another session.

        With a derived `session_id` an existing fork is returned, whatever turns it has. Raises
        Problem("quota_exceeded"), Problem("unavailable"), or Problem("session_erased").
        """
        terms = await self._spending_limits.require(source.organization_id)
        row = self._row(session_id or new_session_id(), source.organization_id, agent, wanted)
        if model or agent.id == source.agent_id:
            row = replace(row, model=model or source.model)
        row = replace(row, forked_from=source.id)
        try:
            session, copied = await self._forks.create_once(row, source.id, turns)
        except SessionErased as error:
            raise _erased() from error
        self._session_reader.remember(session)
        if (session.agent_id, session.agent_version) != (agent.id, agent.version):
            agent = await self._agent(session.organization_id, session.agent_id, session.agent_version)
        timeline = fork(copied, source.id, at=session.created_at)
        start = self._start(session, agent.definition, terms).model_copy(update={"timeline": timeline})
        if session_id is None:
            await self._start_workflow(session, start, self._session_client.open)
        elif session.recorded_at is None:
            await self._start_once(session, start, self._session_client.open)
        return session, await self._session_reader.now(session)

    async def _prepared(
        self, organization_id: str, wanted: NewSession, key: str | None, start_workflow: _StartWorkflow
    ) -> tuple[StoredSession, Callable[[], Awaitable[None]]]:
        """Store a session, or find that of the key, and return it with the function that starts it if need be."""
        if key is None:
            session, start = await self._store(organization_id, wanted)
            return session, partial(self._start_workflow, session, start, start_workflow)
        session_id = keyed_id("ses", organization_id, "new", key)
        known = await self._sessions.find(organization_id, session_id)
        if known is not None and known.recorded_at is not None:
            session, started = known, _nothing
        else:
            session, start = await self._stored_once(organization_id, wanted, session_id)
            started = partial(self._start_once, session, start, start_workflow)
        if not _is_as_wanted(session, wanted):
            raise Problem("idempotency_mismatch", _OTHER_SESSION, session_id=session.id)
        self._session_reader.remember(session)
        return session, started

    async def _store(self, organization_id: str, wanted: NewSession) -> tuple[StoredSession, StartSession]:
        terms = await self._spending_limits.require(organization_id)
        agent = await self._agent(organization_id, wanted.agent.id, wanted.agent.version)
        row = self._row(new_session_id(), organization_id, agent, wanted)
        session = await self._sessions.create(row)
        self._session_reader.remember(session)
        start = self._start(row, _limited(agent.definition, wanted), terms)
        return session, start.model_copy(update={"simulator": wanted.caller})

    async def _agent(self, organization_id: str, agent_id: str, version: int | None) -> StoredAgent:
        agent = await self._agents.find(organization_id, agent_id, version)
        if agent is None:
            raise not_found("agent", f"{agent_id}, version {version}" if version else agent_id)
        return agent

    def _start(self, row: SessionRow, definition: AgentDefinition, terms: Terms) -> StartSession:
        return StartSession(
            session_id=row.id,
            organization_id=row.organization_id,
            agent=AgentRef(id=row.agent_id, version=row.agent_version),
            definition=definition,
            model=row.model,
            name=row.name,
            initial_context=row.initial_context,
            timing=self._timing,
            price_per_second=terms.price_per_second,
            webhook=self._target(definition),
        )

    def _target(self, definition: AgentDefinition) -> WebhookTarget | None:
        """The webhook for the end of the session: the agent's own, else the one in the settings."""
        own = definition.webhook
        if own is not None:
            return WebhookTarget(url=own.url, secret=own.secret)
        return WebhookTarget(url=self._webhook_url) if self._webhook_url else None

    def _row(self, session_id: str, organization_id: str, agent: StoredAgent, wanted: NewSession) -> SessionRow:
        return SessionRow(
            id=session_id,
            organization_id=organization_id,
            agent_id=agent.id,
            agent_version=agent.version,
            agent_name=agent.name,
            agent_number=agent.number,
            name=wanted.name or NAME_PREFIX + "".join(choice(_NAME_CHARACTERS) for _ in range(6)),
            model=agent.definition.model or self._model,
            created_at=datetime.now(UTC),
            initial_context=wanted.initial_context,
            annotations=wanted.annotations,
            simulator=_simulator(wanted),
        )

    async def _start_workflow(
        self, session: StoredSession, start: StartSession, start_workflow: _StartWorkflow
    ) -> None:
        """Start the workflow. When that fails, remove the row."""
        try:
            await start_workflow(start)
        except WaitTimedOut:
            await self._raise_timeout(session)
        except (Problem, SessionClosed) as error:
            raise await self._discard_unstarted(session, error) from error

    async def _raise_timeout(self, session: StoredSession) -> NoReturn:
        """Raise the error for a wait that has ended, depending on whether the session was started."""
        if await self._session_client.was_started(session.id):
            raise self._greeting_timeout(session)
        raise await self._discard_unstarted(session, _started_too_late())

    def _greeting_timeout(self, session: StoredSession) -> Problem:
        return Problem(
            "wait_timeout",
            f"The session was started, but there was no greeting within {self._session_client.wait_seconds:g} "
            "seconds; is a worker running? The greeting follows once one is.",
            session_id=session.id,
        )

    async def _discard_unstarted(self, session: StoredSession, error: Problem | SessionClosed) -> Problem:
        """Remove the row of a session that was not started, and return the error.

        When Temporal is unreachable the row stays, because the session may be running. The row is not listed until
        the session is recorded.
        """
        if await self._session_client.was_started(session.id) is False:
            await self._sessions.discard_unstarted(session.id)
        return error if isinstance(error, Problem) else _start_rejected()


def _limited(definition: AgentDefinition, wanted: NewSession) -> AgentDefinition:
    """The definition with the limits of the session."""
    return definition.model_copy(update={"limits": wanted.limits_over(definition.limits)})


def _is_as_wanted(session: StoredSession, wanted: NewSession) -> bool:
    """True if this request may have created the session, by what the store has of it: limits are not stored."""
    return (
        wanted.agent.id in (session.agent_id, session.agent_name)
        and wanted.agent.version in (None, session.agent_version)
        and wanted.name in (None, session.name)
        and wanted.initial_context == session.initial_context
        and wanted.annotations == session.annotations
        and _simulator(wanted) == session.simulator
    )


async def _nothing() -> None:
    """Starts nothing: the session was started before."""


def _simulator(wanted: NewSession) -> dict[str, JsonValue] | None:
    return wanted.simulator.model_dump(mode="json") if wanted.simulator else None


def _erased() -> Problem:
    kind = PROBLEM_TYPES["session_erased"]
    return Problem("session_erased", kind.detail)


def _started_too_late() -> Problem:
    return unavailable("temporal", "Temporal did not start the session in time. Try again in a second.")


def _start_rejected() -> Problem:
    return unavailable("temporal", "Temporal rejected the session. Check that its namespace exists.")
