"""Comparing two branches of a session: the visible one and those that were given up, in any pair."""

from typing import Final

from api.http.problems import not_found
from api.schemas.responses import Comparison, ComparisonSide, Turn
from api.sessions.branch_paths import BranchPaths
from api.sessions.reader import SessionReader
from domain.sessions.branch_diff import find_divergence
from domain.sessions.views import TimelineView
from store.sessions.sessions import SessionStore, StoredSession

ACTIVE: Final = "active"
"""Names the visible branch, which has no id."""


class BranchComparison:
    """Answers what two branches of a session share, and how they go on."""

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
        """The last turn of a branch; None for a visible branch without turns."""
        if branch_id == ACTIVE:
            return view.turns[-1].id if view.turns else None
        for seen in view.discarded_branches:
            if seen.id == branch_id:
                return seen.leaf_turn_id
        for recorded in await self._sessions.branches(session.id):
            if recorded.id == branch_id:
                return recorded.leaf_turn_id
        raise not_found("branch", branch_id)
