"""The tree of a session: every turn of every branch, without its full text and events, and the turns around a turn."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from api.http.problems import not_found
from api.http.responses import MAX_PAGE_BYTES, unknown_cursor
from api.schemas.responses import PageOf, TreeTurn
from api.sessions.reader import RenderedPage, SessionReader, cursor_of
from api.sessions.snapshots import render_turns
from domain.sessions.timeline import DiscardedBranch
from domain.sessions.views import BranchView, TimelineView
from domain.turns.search import excerpt_with
from domain.turns.turn import Turn
from store.sessions.sessions import SessionStore, StoredSession

MAX_TEXT_CHARACTERS: Final = 80
"""Characters of a turn's text that the tree shows."""
ACTIVE: Final = "active"
HIDDEN: Final = "hidden"


class SessionTree:
    """Reads trees: recorded turns, and those of the running workflow that are not recorded yet."""

    def __init__(self, session_reader: SessionReader, sessions: SessionStore) -> None:
        self._session_reader = session_reader
        self._sessions = sessions

    async def turns(
        self, session: StoredSession, limit: int, cursor: str | None, words: str | None = None
    ) -> PageOf[TreeTurn]:
        """Turns in the order in which they were opened; with `words` only those that contain them.

        A page of a search may hold fewer than `limit`. Raises Problem("invalid_request") for an unknown cursor.
        """
        view, live, parents = await self._read(session)
        ids = list(parents)
        start = 0
        if cursor is not None:
            if cursor not in parents:
                raise unknown_cursor()
            start = ids.index(cursor) + 1
        rest = ids[start:]
        if words is not None:
            candidates = await self._sessions.turns_with(session.id, words) | live.keys()
            rest = [each for each in rest if each in candidates]
        shown = rest[:limit]
        turns = await self._turns(session, shown, live)
        branches = await self._branches(session, view, parents)
        texts = {each: _text(turns[each], words) for each in shown if each in turns}
        items = tuple(
            _tree_turn(turns[each], text, branches.get(each, HIDDEN), copied=_is_copied(session, view, turns[each]))
            for each, text in texts.items()
            if text is not None
        )
        return PageOf[TreeTurn](items=items, next_cursor=shown[-1] if len(rest) > limit else None)

    async def around(self, session: StoredSession, turn_id: str, limit: int) -> RenderedPage:
        """The turns around a turn on its own branch, oldest first; the cursor leads back to those before them.

        Raises Problem("not_found") for an unknown turn.
        """
        view, live, parents = await self._read(session)
        if turn_id not in parents:
            raise not_found("turn", turn_id)
        branches = await self._all_branches(session, view)
        leaves = (view.head.head_turn_id, view.head.leaf_turn_id, *(branch.leaf_turn_id for branch in branches))
        paths = (_path_to(leaf, parents) for leaf in leaves)
        path = next((path for path in paths if turn_id in path), _path_to(turn_id, parents))
        place = path.index(turn_id)
        start = max(min(place - limit // 2, len(path) - limit), 0)
        shown = path[start : start + limit]
        turns = await self._turns(session, shown, live)
        return _within_bytes([turns[each] for each in shown if each in turns], turn_id)

    async def _read(self, session: StoredSession) -> tuple[TimelineView, dict[str, Turn], dict[str, str | None]]:
        """The session, its turns that the running workflow shows, and the parent of every turn in opening order."""
        view, _ = await self._session_reader.view(session)
        live = {turn.id: turn for turn in view.all_turns}
        parents = await self._sessions.parents(session.id)
        new = sorted((turn for turn in live.values() if turn.id not in parents), key=lambda turn: turn.created_at)
        parents.update({turn.id: turn.parent_id for turn in new})
        return view, live, parents

    async def _turns(self, session: StoredSession, turn_ids: list[str], live: Mapping[str, Turn]) -> dict[str, Turn]:
        recorded = await self._sessions.turns_of(session.id, [each for each in turn_ids if each not in live])
        return {**{turn.id: turn for turn in recorded}, **live}

    async def _branches(
        self, session: StoredSession, view: TimelineView, parents: Mapping[str, str | None]
    ) -> dict[str, str]:
        """The branch of each turn: active, hidden by a rewind, or the id of a discarded branch."""
        found: dict[str, str] = {}
        _mark(found, parents, view.head.head_turn_id, None, ACTIVE)
        _mark(found, parents, view.head.leaf_turn_id, view.head.head_turn_id, HIDDEN)
        for branch in await self._all_branches(session, view):
            _mark(found, parents, branch.leaf_turn_id, branch.rewound_from_turn_id, branch.id)
        return found

    async def _all_branches(self, session: StoredSession, view: TimelineView) -> list[BranchView | DiscardedBranch]:
        """The discarded branches, recorded or not."""
        known = {branch.id for branch in view.discarded_branches}
        return [
            *(branch for branch in await self._sessions.branches(session.id) if branch.id not in known),
            *view.discarded_branches,
        ]


def _path_to(leaf: str | None, parents: Mapping[str, str | None]) -> list[str]:
    """The ids of the turns from the root to a leaf."""
    path = []
    while leaf is not None:
        path.append(leaf)
        leaf = parents.get(leaf)
    return path[::-1]


def _within_bytes(turns: list[Turn], turn_id: str) -> RenderedPage:
    """A page of these turns; one that is too large loses turns at its longer side, never the requested turn."""
    items = deque(zip(turns, render_turns(turns), strict=True))
    size = sum(len(rendered) for _, rendered in items)
    while size > MAX_PAGE_BYTES and len(items) > 1:
        place = next(place for place, (turn, _) in enumerate(items) if turn.id == turn_id)
        _, dropped = items.popleft() if 2 * place >= len(items) else items.pop()
        size -= len(dropped)
    older = items[0][0].parent_id if items else None
    return RenderedPage([rendered for _, rendered in items], cursor_of(older) if older else None)


def _mark(
    found: dict[str, str], parents: Mapping[str, str | None], leaf: str | None, before: str | None, branch: str
) -> None:
    """Set the branch of the turns from a leaf back to `before`, except for those that have one."""
    turn_id = leaf
    while turn_id is not None and turn_id != before:
        found.setdefault(turn_id, branch)
        turn_id = parents.get(turn_id)


def _is_copied(session: StoredSession, view: TimelineView, turn: Turn) -> bool:
    """True for a turn that a fork took over: it is older than the session."""
    return view.head.forked_from is not None and turn.created_at < session.created_at


def _text(turn: Turn, words: str | None) -> str | None:
    """The beginning of a turn, or the text around the words; None for a turn without them."""
    if words is not None:
        return excerpt_with(turn, words, MAX_TEXT_CHARACTERS)
    said = turn.user_message or turn.assistant_message
    return said.text[:MAX_TEXT_CHARACTERS] if said else ""


def _tree_turn(turn: Turn, text: str, branch: str, *, copied: bool) -> TreeTurn:
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
            "text": text,
            "copied": copied,
        }
    )
