"""Recorded sessions as the past of others: what a scenario goes on from."""

from domain.suites.scenario import RecordedStart
from store.sessions.sessions import SessionStore
from store.suites import EarlierSuite

ALL_TURNS = 1_000_000
"""More turns than a session can have."""


class RecordedSessions:
    """Reads what was recorded of sessions."""

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions

    async def past(self, organization_id: str, wanted: RecordedStart) -> EarlierSuite | None:
        """The turns down to the one that is named, by default the newest that is seen; None when they are not there."""
        session = await self._sessions.find(organization_id, wanted.session)
        leaf_turn_id = wanted.turn or (session.head.head_turn_id if session and session.head else None)
        if session is None or session.head is None or leaf_turn_id is None:
            return None
        found = await self._sessions.turns(session.id, leaf_turn_id=leaf_turn_id, limit=ALL_TURNS)
        if not found:
            return None
        began_with = {**session.initial_context, **session.head.fetched_context}
        return EarlierSuite(session_id=session.id, turns=tuple(found), initial_context=began_with)
