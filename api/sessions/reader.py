"""Reads of sessions: from the running workflow, or as last recorded when it is closed or no worker answers."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from temporalio.client import WorkflowExecutionStatus

from api.http.outage_cache import OutageCache
from api.http.problems import not_found
from api.http.responses import MAX_PAGE_BYTES, unknown_cursor
from api.sessions.snapshots import LatestSnapshots, Snapshot, render_branch, render_turns
from api.temporal.availability import Availability
from api.temporal.session_client import LiveQueryFailed, SessionClient
from contracts.sessions import SendMessageResult
from domain.sessions.command_handlers import new_timeline
from domain.sessions.timeline import DiscardedBranch
from domain.sessions.views import (
    MAX_BRANCH_TURNS,
    MAX_BRANCHES,
    MAX_VISIBLE_TURNS,
    BranchView,
    SessionHead,
    TimelineView,
    branch_view,
    head_of,
)
from domain.turns.turn import Turn
from domain.usage import merge_costs
from store.agents import AgentStore
from store.sessions.sessions import SessionStore, StoredSession

MAX_CACHED_SESSIONS: Final = 2_000
"""Sessions whose constant data (owner, agent, name, initial context) is cached."""
CACHED_SECONDS: Final = 5.0
"""Lifetime of that data: a session that another API process erased is still found here for up to this time."""


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page of a list whose items are already encoded as JSON."""

    items: list[bytes]
    next_cursor: str | None


class SessionReader:
    """Reads sessions, their turns and their branches."""

    def __init__(
        self,
        session_client: SessionClient,
        sessions: SessionStore,
        agents: AgentStore,
        availability: Availability,
    ) -> None:
        self._session_client = session_client
        self._sessions = sessions
        self._agents = agents
        self._availability = availability
        self._latest = LatestSnapshots()
        self._sessions_by_id: OutageCache[str, StoredSession] = OutageCache(MAX_CACHED_SESSIONS, CACHED_SECONDS)

    async def session(self, organization_id: str, session_id: str) -> StoredSession:
        """The constant data of a session of this organization. Raises Problem("not_found")."""
        known = await self._sessions_by_id.get(session_id, lambda: self._sessions.find(organization_id, session_id))
        if known is None or known.organization_id != organization_id:
            raise not_found("session", session_id)
        return known

    async def numbered(self, organization_id: str, number: int) -> StoredSession | None:
        """The constant data of a session of this organization by its integer alias."""
        found = await self._sessions.numbered(organization_id, number)
        if found is not None:
            self.remember(found)
        return found

    def remember(self, session: StoredSession) -> None:
        """Cache the constant data of a session, so that its messages need not read the store."""
        self._sessions_by_id.put(session.id, session)

    def forget(self, session_id: str) -> None:
        """Remove an erased session from the caches."""
        self._sessions_by_id.forget(session_id)
        self._latest.drop(session_id)

    async def now(self, session: StoredSession) -> Snapshot:
        """The session as it is, or as last recorded when it is closed or no worker answers."""
        try:
            return self._kept(session, await self.live(session))
        except LiveQueryFailed as error:
            return await self.recorded(session, error.status)

    async def live(self, session: StoredSession) -> TimelineView:
        """The session from its workflow. Raises LiveQueryFailed."""
        if self._availability.outage_of("temporal"):
            raise LiveQueryFailed
        return await self._session_client.timeline(session.id)

    async def settle(self, session: StoredSession) -> None:
        """If the workflow is running, make it record at once what is missing in the store."""
        if not self._availability.outage_of("temporal"):
            await self._session_client.settle(session.id)

    async def was_closed_abnormally(self, session: StoredSession) -> bool:
        """True when the workflow was closed by an operator or a failure; False also when that is unknown."""
        return not self._availability.outage_of("temporal") and await self._session_client.was_closed_abnormally(
            session.id
        )

    async def after(self, session: StoredSession, result: SendMessageResult, turn: Turn) -> Snapshot:
        """The session after a reply: the previous snapshot with the turn added, or read anew when more has changed."""
        before = self._latest.get(session.id)
        snapshot = before.after(result, turn) if before else None
        if snapshot is None:
            return await self.now(session)
        self._latest.keep(session.id, snapshot)
        return snapshot

    async def view(self, session: StoredSession) -> tuple[TimelineView, datetime]:
        """The session as `now` returns it, as domain values, and the time of its data."""
        try:
            return await self.live(session), datetime.now(UTC)
        except LiveQueryFailed as error:
            return await self._recorded(session, error.status)

    async def whole(self, session: StoredSession) -> TimelineView:
        """The session as `now` returns it, with every turn of its visible branch. Cost grows with the turns."""
        view, _ = await self.view(session)
        oldest = next(iter(view.turns), None)
        if oldest is None or oldest.parent_id is None:
            return view
        older = await self._sessions.turns(session.id, leaf_turn_id=oldest.parent_id, limit=oldest.index)
        return view.model_copy(update={"turns": (*older, *view.turns)})

    async def recorded(self, session: StoredSession, closed_as: WorkflowExecutionStatus | None = None) -> Snapshot:
        """The session from the store. `closed_as` is the final status of its workflow, when that is known."""
        view, as_of = await self._recorded(session, closed_as)
        return Snapshot.of(view, as_of=as_of)

    async def _recorded(
        self, session: StoredSession, closed_as: WorkflowExecutionStatus | None
    ) -> tuple[TimelineView, datetime]:
        stored = await self._sessions.find(session.organization_id, session.id)
        if stored is None:
            raise not_found("session", session.id)
        head = stored.head or await self._head_before_the_first_turn(stored)
        if closed_as is not None and not head.is_completed:
            head = _closed_abnormally(head, closed_as)
        branches = await self._sessions.branches(session.id)
        turns = await self._recorded_turns(session.id, head, MAX_VISIBLE_TURNS)
        views = [await self._branch(session.id, branch) for branch in branches[-MAX_BRANCHES:]]
        view = TimelineView(
            head=head,
            turns=tuple(turns),
            discarded_branches=tuple(views),
            future=await self._recorded_future(session.id, head),
        )
        return view, stored.recorded_at or datetime.now(UTC)

    async def turns(self, session: StoredSession, limit: int, cursor: str | None) -> RenderedPage:
        """A page of the visible branch, oldest first; the next page is the one before it in time.

        A cursor names the turn its page ends with. The path from a turn to the root never changes, so pages stay
        consistent whatever is sent or rewound meanwhile.
        """
        leaf_id = None if cursor is None else _decoded(cursor)
        turns = await self._newest_turns(session, leaf_id, limit)
        if leaf_id is not None and not turns:
            raise unknown_cursor()
        items = render_turns(turns)
        first, size = 0, sum(map(len, items))
        while size > MAX_PAGE_BYTES and first < len(items) - 1:
            size -= len(items[first])
            first += 1
        older = turns[first].parent_id if turns else None
        return RenderedPage(items=items[first:], next_cursor=older and cursor_of(older))

    async def branches(self, session: StoredSession, limit: int, cursor: str | None) -> RenderedPage:
        """A page of the discarded branches, newest first. It ends early when it becomes too large."""
        live: dict[str, BranchView] = {}
        try:
            live = {branch.id: branch for branch in (await self.live(session)).discarded_branches}
        except LiveQueryFailed:
            await self._require_kept(session)
        recorded = {branch.id: branch for branch in await self._sessions.branches(session.id)}
        found: list[BranchView | DiscardedBranch] = [*live.values()]
        found += [branch for branch_id, branch in recorded.items() if branch_id not in live]
        found.sort(key=_newest_first)
        ids = [branch.id for branch in found]
        start = 0
        if cursor is not None:
            last = _decoded(cursor)
            if last not in ids:
                raise unknown_cursor()
            start = ids.index(last) + 1
        items: list[bytes] = []
        size = 0
        for branch in found[start : start + limit]:
            view = branch if isinstance(branch, BranchView) else await self._branch(session.id, branch)
            item = render_branch(view)
            size += len(item)
            if items and size > MAX_PAGE_BYTES:
                break
            items.append(item)
        end = start + len(items)
        return RenderedPage(items=items, next_cursor=cursor_of(ids[end - 1]) if items and end < len(ids) else None)

    async def _require_kept(self, session: StoredSession) -> None:
        """Raise Problem("not_found") for a session that another API process has erased meanwhile."""
        if await self._sessions.find(session.organization_id, session.id) is None:
            self.forget(session.id)
            raise not_found("session", session.id)

    def _kept(self, session: StoredSession, view: TimelineView) -> Snapshot:
        snapshot = Snapshot.of(view, as_of=datetime.now(UTC))
        self._latest.keep(session.id, snapshot)
        return snapshot

    async def _newest_turns(self, session: StoredSession, leaf_id: str | None, limit: int) -> list[Turn]:
        """Up to `limit` turns, the newest of the visible branch or those that end with the given one, oldest first."""
        try:
            turns = list((await self.live(session)).turns)
        except LiveQueryFailed:
            turns = []
        if leaf_id is None and turns:
            return turns[-limit:]
        if leaf_id is None:
            stored = await self._sessions.find(session.organization_id, session.id)
            if stored is None:
                raise not_found("session", session.id)
            if stored.head is None:
                return []
            return await self._recorded_turns(session.id, stored.head, limit)
        place = next((place for place, turn in enumerate(turns) if turn.id == leaf_id), None)
        if place is not None and (place + 1 >= limit or turns[0].parent_id is None):
            return turns[max(place + 1 - limit, 0) : place + 1]
        return await self._sessions.turns(session.id, leaf_turn_id=leaf_id, limit=limit)

    async def _recorded_turns(self, session_id: str, head: SessionHead, limit: int) -> list[Turn]:
        """The newest recorded turns of the visible branch, oldest first; a pending one is not among them."""
        if head.head_turn_id is None:
            return []
        return await self._sessions.turns(session_id, leaf_turn_id=head.head_turn_id, limit=limit)

    async def _recorded_future(self, session_id: str, head: SessionHead) -> tuple[Turn, ...]:
        """The recorded turns past the cursor of a rewind, oldest first."""
        if head.leaf_turn_id is None or head.leaf_turn_id == head.head_turn_id:
            return ()
        newest = await self._sessions.turns(session_id, leaf_turn_id=head.leaf_turn_id, limit=MAX_VISIBLE_TURNS)
        return _after(head.head_turn_id, newest)

    async def _head_before_the_first_turn(self, session: StoredSession) -> SessionHead:
        """The head of a session that has started and was not recorded yet."""
        definition = await self._agents.definition(session.agent_id, session.agent_version)
        nothing_said = head_of(new_timeline(at=session.created_at), definition, run_id="")
        return nothing_said.model_copy(update={"status": "pending_assistant_turn"})

    async def _branch(self, session_id: str, branch: DiscardedBranch) -> BranchView:
        newest = await self._sessions.turns(session_id, leaf_turn_id=branch.leaf_turn_id, limit=MAX_BRANCH_TURNS)
        view = branch_view(branch, _after(branch.rewound_from_turn_id, newest))
        if not view.turns or view.turns[0].parent_id == branch.rewound_from_turn_id:
            return view
        costs = await self._sessions.branch_costs(session_id, branch)
        return view.model_copy(
            update={
                "turn_count": len(costs),
                "cost": merge_costs(costs.values()),
                "head_turn_id": next(iter(costs), view.head_turn_id),
            }
        )


def _after(turn_id: str | None, turns: list[Turn]) -> tuple[Turn, ...]:
    """The turns that follow the given one; all of them when it is not there."""
    place = next((place for place, turn in enumerate(turns) if turn.id == turn_id), -1)
    return tuple(turns[place + 1 :])


def _closed_abnormally(head: SessionHead, closed_as: WorkflowExecutionStatus) -> SessionHead:
    """The head of a session whose workflow was closed by an operator or a failure."""
    reason = f"workflow_{closed_as.name.lower()}"
    return head.model_copy(update={"status": "completed", "is_completed": True, "completion_reason": reason})


def _newest_first(branch: BranchView | DiscardedBranch) -> tuple[float, str]:
    return -branch.discarded_at.timestamp(), branch.id


def cursor_of(turn_id: str) -> str:
    """The cursor of the page of turns that ends with this one."""
    return urlsafe_b64encode(turn_id.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    """The id in a cursor; empty for an invalid cursor."""
    try:
        return urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (NotBase64, ValueError):
        return ""
