"""Creation of sessions: first the row in the store, then the workflow, then the agent's greeting."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from secrets import choice, token_hex
from typing import Final, NoReturn

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
from domain.sessions.timeline import Timeline
from domain.turns.turn import Turn
from store.agents import AgentStore, StoredAgent
from store.organizations import Terms
from store.sessions.erasure import ErasureStore, SessionErased
from store.sessions.forks import ForkStore
from store.sessions.sessions import NewSession as SessionRow
from store.sessions.sessions import SessionStore, StoredSession

NAME_PREFIX: Final = "WR-TEXT-"
_NAME_CHARACTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without 0 and O, 1 and I, which are easily confused when read aloud."""


def new_session_id() -> str:
    """A new unique session id."""
    return f"ses_{token_hex(12)}"


class SessionCreator:
    """Creates sessions. A session that Temporal did not start leaves no row behind."""

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

    async def create(self, organization_id: str, wanted: NewSession) -> tuple[StoredSession, Snapshot]:
        """Create a session and wait for the greeting. A greeting that failed at the model is returned like any turn.

        Raises Problem("quota_exceeded") at the spending limit, Problem("not_found") for an unknown
        agent, Problem("unavailable") when the session was not started, Problem("wait_timeout") when it was but the
        greeting took too long.
        """
        session, start = await self._store(organization_id, wanted)
        await self._start_workflow(session, start, self._session_client.open)
        return session, await self._session_reader.now(session)

    async def create_once(
        self, organization_id: str, wanted: NewSession, session_id: str, timeline: Timeline | None = None
    ) -> StoredSession:
        """Create a session under an id of the caller's, or find the one that an earlier call has created.

        Waits for the greeting; a `timeline` that the session begins with has one. Store and Temporal decide between
        calls at the same time, also of several processes: all of them get the same session. Raises
        Problem("session_erased") if it was erased, else as `create` does; after an error the call can be repeated.
        """
        known = await self._sessions.find(organization_id, session_id)
        if known is None or known.recorded_at is None:
            known = await self._started_once(organization_id, wanted, session_id, timeline)
        self._session_reader.remember(known)
        return known

    async def _started_once(
        self, organization_id: str, wanted: NewSession, session_id: str, timeline: Timeline | None
    ) -> StoredSession:
        terms = await self._spending_limits.require(organization_id)
        agent = await self._agent(organization_id, wanted.agent.id, wanted.agent.version)
        try:
            session = await self._sessions.create_once(self._row(session_id, organization_id, agent, wanted))
        except SessionErased as error:
            raise _erased() from error
        if (session.agent_id, session.agent_version) != (agent.id, agent.version):
            agent = await self._agent(organization_id, session.agent_id, session.agent_version)
        try:
            start = self._start(session, _limited(agent.definition, wanted), terms)
            await self._session_client.open(start.model_copy(update={"timeline": timeline}))
        except WaitTimedOut as error:
            if await self._session_client.was_started(session.id):
                raise self._greeting_timeout(session) from error
            raise _started_too_late() from error
        except SessionClosed as error:
            # Its workflow has ended, unless Temporal has rejected it.
            if not await self._session_client.was_started(session.id):
                raise _start_rejected() from error
        if await self._erasures.was_erased(organization_id, session.id):
            # Erased after it was found in the store: Temporal has forgotten it and has started it anew.
            await self._workflow_deletion.delete(session_workflow_id(session.id))
            raise _erased()
        return session

    async def create_without_greeting(self, organization_id: str, wanted: NewSession) -> tuple[StoredSession, Snapshot]:
        """Create a session without waiting for its greeting."""
        session, start = await self._store(organization_id, wanted)
        await self._start_workflow(session, start, self._session_client.start)
        return session, await self._session_reader.recorded(session)

    async def prepare(
        self, organization_id: str, wanted: NewSession
    ) -> tuple[StoredSession, Callable[[], Coroutine[None, None, Turn]]]:
        """Store a session, and return it with the function that starts it and returns its greeting.

        Between the two nothing happens in the session, so that a watcher misses nothing. Both raise as `create` does.
        """
        session, start = await self._store(organization_id, wanted)

        async def opened() -> Turn:
            await self._start_workflow(session, start, self._session_client.open)
            return (await self._session_reader.whole(session)).turns[-1]

        return session, opened

    async def create_fork(
        self, source: StoredSession, agent: StoredAgent, timeline: Timeline, wanted: NewSession, *, model: str | None
    ) -> tuple[StoredSession, Snapshot]:
        """Create a session that continues the timeline of another session.

        Raises Problem("quota_exceeded") or Problem("unavailable").
        """
        terms = await self._spending_limits.require(source.organization_id)
        row = self._row(new_session_id(), source.organization_id, agent, wanted)
        if model or agent.id == source.agent_id:
            row = replace(row, model=model or source.model)
        row = replace(row, forked_from=source.id)
        session = await self._forks.create(row, source.id, tuple(timeline.turns.values()))
        self._session_reader.remember(session)
        start = self._start(row, agent.definition, terms).model_copy(update={"timeline": timeline})
        await self._start_workflow(session, start, self._session_client.open)
        return session, await self._session_reader.now(session)

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
            simulator=wanted.simulator.model_dump(mode="json") if wanted.simulator else None,
        )

    async def _start_workflow(
        self, session: StoredSession, start: StartSession, start_workflow: Callable[[StartSession], Awaitable[object]]
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

        When Temporal is unreachable the row stays, because the session may be running. Until it does, the row is
        not listed.
        """
        if await self._session_client.was_started(session.id) is False:
            await self._sessions.discard_unstarted(session.id)
        return error if isinstance(error, Problem) else _start_rejected()


def _limited(definition: AgentDefinition, wanted: NewSession) -> AgentDefinition:
    """The definition with the limits of the session."""
    return definition.model_copy(update={"limits": wanted.limits_over(definition.limits)})


def _erased() -> Problem:
    kind = PROBLEM_TYPES["session_erased"]
    return Problem("session_erased", kind.detail)


def _started_too_late() -> Problem:
    return unavailable("temporal", "Temporal did not start the session in time. Try again in a second.")


def _start_rejected() -> Problem:
    return unavailable("temporal", "Temporal rejected the session. Check that its namespace exists.")
