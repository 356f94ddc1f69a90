"""Forks: new sessions that continue from a turn of another session."""

from collections.abc import Sequence
from typing import Final

from api.http.problems import Problem, invalid, not_found
from api.schemas.requests import AgentVersion, ForkBody, NewSession
from api.sessions.creation import SessionCreator
from api.sessions.reader import SessionReader
from api.sessions.snapshots import Snapshot
from domain.agents.definition import AgentDefinition
from domain.turns.turn import Turn
from store.agents import AgentStore, StoredAgent
from store.database.ids import keyed_id
from store.sessions.sessions import SessionStore, StoredSession

ALL_TURNS: Final = 1_000_000
"""More turns than a session can have."""
_OTHER_FORK: Final = "The Idempotency-Key was already used for another fork of this session. Use a new key."


class ForkService:
    """Creates forks of sessions."""

    def __init__(
        self, session_creator: SessionCreator, session_reader: SessionReader, sessions: SessionStore, agents: AgentStore
    ) -> None:
        self._session_creator = session_creator
        self._session_reader = session_reader
        self._sessions = sessions
        self._agents = agents

    async def fork(
        self, source: StoredSession, body: ForkBody, key: str | None = None
    ) -> tuple[StoredSession, Snapshot]:
        """Create a session that continues from a turn of another.

        With an idempotency `key` a repeat returns the session of the first call, even when the source has changed.
        Raises Problem("not_found") for an unknown turn or agent, Problem("turn_in_progress") for a turn that is
        pending, Problem("invalid_request") when no turn is answered or the agent does not have the node,
        Problem("idempotency_mismatch") for the key of another fork, and Problem("session_erased") for that of an
        erased one.
        """
        if key is None:
            return await self._create(source, body, None)
        fork_id = keyed_id("ses", source.organization_id, "fork", source.id, key)
        known = await self._sessions.find(source.organization_id, fork_id)
        if known is not None and known.recorded_at is not None:
            self._session_reader.remember(known)
            forked, snapshot = known, await self._session_reader.now(known)
        else:
            forked, snapshot = await self._create(source, body, fork_id)
        if not _is_as_wanted(forked, snapshot, body):
            raise Problem("idempotency_mismatch", _OTHER_FORK, session_id=forked.id)
        return forked, snapshot

    async def _create(
        self, source: StoredSession, body: ForkBody, fork_id: str | None
    ) -> tuple[StoredSession, Snapshot]:
        view = await self._session_reader.whole(source)
        turns = await self._past(source, view.turns, body.turn_id)
        if turns[0].parent_id is not None:  # missing in the store: a fork would begin at the gap
            raise not_found("turn", turns[0].parent_id)
        agent = await self._agent(source, body)
        _require_node(agent.definition, turns)
        new = NewSession(
            agent=AgentVersion(id=agent.id, version=agent.version),
            name=body.name,
            initial_context={**source.initial_context, **view.head.fetched_context},
            annotations=source.annotations,
        )
        return await self._session_creator.create_fork(source, agent, turns, new, model=body.model, session_id=fork_id)

    async def _past(self, source: StoredSession, visible: Sequence[Turn], turn_id: str | None) -> Sequence[Turn]:
        """The turns from the root to the one that the fork starts from, oldest first."""
        if turn_id is None:
            return _answered(visible)
        place = next((place for place, turn in enumerate(visible) if turn.id == turn_id), None)
        if place is not None and visible[place].status == "pending":
            raise Problem(
                "turn_in_progress",
                "The turn is still being answered. Fork when the reply is complete.",
                turn_id=turn_id,
            )
        if place is not None:
            return visible[: place + 1]
        elsewhere = await self._sessions.turns(source.id, leaf_turn_id=turn_id, limit=ALL_TURNS)
        if not elsewhere:
            raise not_found("turn", turn_id)
        return elsewhere

    async def _agent(self, source: StoredSession, body: ForkBody) -> StoredAgent:
        """The agent of the new session: by default the version of the source."""
        agent_id = body.agent.id if body.agent else source.agent_id
        version = body.agent.version if body.agent else source.agent_version
        agent = await self._agents.find(source.organization_id, agent_id, version)
        if agent is None:
            raise not_found("agent", agent_id)
        return agent


def _is_as_wanted(forked: StoredSession, snapshot: Snapshot, body: ForkBody) -> bool:
    """True if a request for this fork may have created it."""
    origin = snapshot.head.forked_from
    return (
        (body.turn_id is None or origin is None or body.turn_id == origin.turn_id)
        and (body.agent is None or body.agent.id in (forked.agent_id, forked.agent_name))
        and (body.agent is None or body.agent.version in (None, forked.agent_version))
        and body.model in (None, forked.model)
        and body.name in (None, forked.name)
    )


def _answered(visible: Sequence[Turn]) -> Sequence[Turn]:
    """The turns without one that is pending at their end."""
    closed = visible[:-1] if visible and visible[-1].status == "pending" else visible
    if not closed:
        raise invalid(
            "invalid_request",
            "The session has no answered turn to fork from. Create a new session instead.",
            [("path.session_id", "has no answered turn")],
        )
    return closed


def _require_node(agent: AgentDefinition, turns: Sequence[Turn]) -> None:
    """Raise Problem when the agent does not have the node at which the turns end."""
    left = next((turn.checkpoint for turn in reversed(turns) if turn.checkpoint), None)
    if left is not None and left.node_id not in agent.nodes:
        raise invalid(
            "invalid_request",
            f"The conversation stands at node {left.node_id}, which the agent {agent.name} does not have.",
            [("body.agent", f"has no node {left.node_id}")],
        )
