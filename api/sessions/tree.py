"""The light tree of a session: every turn of every branch, without its words and events."""

from collections.abc import Iterable, Mapping
from typing import Final

from api.http.responses import unknown_cursor
from api.schemas.responses import PageOf, TreeTurn
from api.sessions.reader import SessionReader
from domain.sessions.timeline import DiscardedBranch
from domain.sessions.views import BranchView, TimelineView
from domain.turns.turn import Turn
from store.sessions.sessions import SessionStore, StoredSession

MAX_TEXT_CHARACTERS: Final = 80
"""Characters of what was said in a turn that the tree shows."""
ACTIVE: Final = "active"
HIDDEN: Final = "hidden"


class SessionTree:
    """Reads trees: recorded turns, and those of the running workflow that are not recorded yet."""

    def __init__(self, session_reader: SessionReader, sessions: SessionStore) -> None:
        self._session_reader = session_reader
        self._sessions = sessions

    async def turns(self, session: StoredSession, limit: int, cursor: str | None) -> PageOf[TreeTurn]:
        """Turns in the order in which they were opened. Raises Problem("invalid_request") for an unknown cursor."""
        view, _ = await self._session_reader.view(session)
        live = {turn.id: turn for turn in _turns_of(view)}
        parents = await self._sessions.parents(session.id)
        new = sorted((turn for turn in live.values() if turn.id not in parents), key=lambda turn: turn.created_at)
        parents.update({turn.id: turn.parent_id for turn in new})
        ids = list(parents)
        start = 0
        if cursor is not None:
            if cursor not in parents:
                raise unknown_cursor()
            start = ids.index(cursor) + 1
        shown = ids[start : start + limit]
        recorded = await self._sessions.turns_of(session.id, [each for each in shown if each not in live])
        turns = {**{turn.id: turn for turn in recorded}, **live}
        branches = await self._branches(session, view, parents)
        items = tuple(
            _tree_turn(turns[each], branches.get(each, HIDDEN), copied=_is_copied(session, view, turns[each]))
            for each in shown
            if each in turns
        )
        more = start + limit < len(ids)
        return PageOf[TreeTurn](items=items, next_cursor=shown[-1] if more else None)

    async def _branches(
        self, session: StoredSession, view: TimelineView, parents: Mapping[str, str | None]
    ) -> dict[str, str]:
        """The branch of each turn: active, hidden by a rewind, or the id of a discarded branch."""
        found: dict[str, str] = {}
        _mark(found, parents, view.head.head_turn_id, None, ACTIVE)
        _mark(found, parents, view.head.leaf_turn_id, view.head.head_turn_id, HIDDEN)
        known = {branch.id for branch in view.discarded_branches}
        branches: list[BranchView | DiscardedBranch] = [
            branch for branch in await self._sessions.branches(session.id) if branch.id not in known
        ]
        branches += view.discarded_branches
        for branch in branches:
            _mark(found, parents, branch.leaf_turn_id, branch.rewound_from_turn_id, branch.id)
        return found


def _turns_of(view: TimelineView) -> Iterable[Turn]:
    yield from view.turns
    yield from view.future
    for branch in view.discarded_branches:
        yield from branch.turns


def _mark(
    found: dict[str, str], parents: Mapping[str, str | None], leaf: str | None, before: str | None, branch: str
) -> None:
    """Name the branch of the turns from a leaf back to `before`, without those that have one."""
    turn_id = leaf
    while turn_id is not None and turn_id != before:
        found.setdefault(turn_id, branch)
        turn_id = parents.get(turn_id)


def _is_copied(session: StoredSession, view: TimelineView, turn: Turn) -> bool:
    """True for a turn that a fork took over: it is older than the session."""
    return view.head.forked_from is not None and turn.created_at < session.created_at


def _tree_turn(turn: Turn, branch: str, *, copied: bool) -> TreeTurn:
    said = turn.user_message or turn.assistant_message
    return TreeTurn.model_validate(
        {
            "id": turn.id,
            "parent_id": turn.parent_id,
            "index": turn.index,
            "status": turn.status,
            "node_id": turn.node_id,
            "branch": branch,
            "created_at": turn.created_at,
            "seconds": turn.usage.duration_seconds,
            "cost": turn.cost,
            "total_tokens": sum(used.total_tokens for used in turn.usage.llm.values()),
            "text": said.text[:MAX_TEXT_CHARACTERS] if said else "",
            "copied": copied,
        }
    )
