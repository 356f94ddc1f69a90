"""Comparison of two branches of a session, active or discarded."""

from typing import Final

from api.http.problems import not_found
from api.schemas.responses import Comparison, ComparisonSide, Turn
from api.sessions.branch_paths import BranchPaths
from api.sessions.reader import SessionReader
from domain.sessions.branch_diff import find_divergence
from domain.sessions.views import TimelineView
from store.sessions.sessions import SessionStore, StoredSession

ACTIVE: Final = "active"
"""Name of the active branch, which has no id."""


class BranchComparison:
    """Compares branches: the turns they share, and the turns that each has of its own."""

    def __init__(self, session_reader: SessionReader, sessions: SessionStore) -> None:
        self._session_reader = session_reader
        self._sessions = sessions

    async def compare(self, session: StoredSession, a: str, b: str) -> Comparison:
        """Compare two branches by their ids, or `active`. Raises Problem("not_found") for one that is unknown."""
        view, as_of = await self._session_reader.view(session)
        paths = BranchPaths(session.id, view, self._sessions)
        leaf_a, leaf_b = await self._leaf(session, view, a), await self._leaf(session, view, b)
        parted = find_divergence(await paths.ids(leaf_a), await paths.ids(leaf_b))
        common = await paths.turns([parted.last_common] if parted.last_common else [])
        return Comparison(
            common_turns=parted.common,
            last_common_turn=Turn.model_validate(common[0]) if common else None,
            a=ComparisonSide(
                branch=a,
                leaf_turn_id=leaf_a,
                turns=tuple(map(Turn.model_validate, await paths.turns(parted.a))),
                turns_after=parted.a_after,
            ),
            b=ComparisonSide(
                branch=b,
                leaf_turn_id=leaf_b,
                turns=tuple(map(Turn.model_validate, await paths.turns(parted.b))),
                turns_after=parted.b_after,
            ),
            as_of=as_of,
        )

    async def _leaf(self, session: StoredSession, view: TimelineView, branch_id: str) -> str | None:
        """The last turn of a branch; None for an active branch without turns."""
        if branch_id == ACTIVE:
            return view.turns[-1].id if view.turns else None
        for branch in view.discarded_branches:
            if branch.id == branch_id:
                return branch.leaf_turn_id
        for recorded in await self._sessions.branches(session.id):
            if recorded.id == branch_id:
                return recorded.leaf_turn_id
        raise not_found("branch", branch_id)
