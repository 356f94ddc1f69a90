"""Recorded sessions as the starting point of simulated ones."""

from domain.suites.scenario import RecordedStart
from store.sessions.sessions import SessionStore
from store.suites import RecordedPast

NO_TURN_LIMIT = 1_000_000
"""More turns than a session can have."""


class RecordedSessions:
    """Reads the recorded past of sessions."""

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions

    async def past(self, organization_id: str, wanted: RecordedStart) -> RecordedPast | None:
        """The past of a session up to the given turn, by default its newest visible one.

        None if the session is not recorded, or not from its first turn on.
        """
        session = await self._sessions.find(organization_id, wanted.session)
        leaf_turn_id = wanted.turn or (session.head.head_turn_id if session and session.head else None)
        if session is None or session.head is None or leaf_turn_id is None:
            return None
        found = await self._sessions.turns(session.id, leaf_turn_id=leaf_turn_id, limit=NO_TURN_LIMIT)
        if not found or found[0].parent_id is not None:
            return None
        initial_context = {**session.initial_context, **session.head.fetched_context}
        return RecordedPast(session_id=session.id, turns=tuple(found), initial_context=initial_context)
