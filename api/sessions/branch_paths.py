"""Paths through a session's tree of any length: the newest turns from the live view, all others from the store.

Turns of the last seconds may not be recorded yet, and older turns are not part of the live view.
"""

from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import Final

from domain.sessions.views import TimelineView
from domain.turns.turn import Turn
from store.sessions.sessions import SessionStore

PAGE_SIZE: Final = 200
"""Turns that are held in memory at once while a path is read."""


class BranchPaths:
    """The paths of one session, as of one view of it."""

    def __init__(self, session_id: str, view: TimelineView, sessions: SessionStore) -> None:
        self._session_id = session_id
        self._sessions = sessions
        groups = (view.turns, view.future, *(branch.turns for branch in view.discarded_branches))
        self._live = {turn.id: turn for turns in groups for turn in turns}

    async def ids(self, leaf_turn_id: str | None) -> list[str]:
        """The ids of the turns that lead to a leaf, from the root on."""
        newest_first: list[str] = []
        turn_id = leaf_turn_id
        while turn_id is not None and turn_id in self._live:
            newest_first.append(turn_id)
            turn_id = self._live[turn_id].parent_id
        recorded = await self._sessions.path(self._session_id, turn_id) if turn_id is not None else []
        return [*recorded, *reversed(newest_first)]

    async def turns(self, ids: Sequence[str]) -> list[Turn]:
        """The turns of a contiguous part of a path."""
        found: list[Turn] = []
        for is_live, group in groupby(ids, key=self._live.__contains__):
            stretch = list(group)
            if is_live:
                found += [self._live[turn_id] for turn_id in stretch]
            else:
                found += await self._sessions.turns(self._session_id, leaf_turn_id=stretch[-1], limit=len(stretch))
        return found

    async def pages(self, ids: Sequence[str]) -> AsyncIterator[list[Turn]]:
        """The turns of a path, page by page, so that a path of any length needs the memory of one page."""
        for start in range(0, len(ids), PAGE_SIZE):
            yield await self.turns(ids[start : start + PAGE_SIZE])
