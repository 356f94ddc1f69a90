"""Views of a session: its head, which is small and part of every response, and its visible turns."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

from pydantic import JsonValue

from domain.agents.definition import AgentDefinition
from domain.durable import FrozenModel
from domain.sessions import simulated_caller
from domain.sessions.caller_config import SimulatorStatus
from domain.sessions.timeline import DiscardedBranch, ForkPoint, Timeline, WaitingApproval, WaitingClientCall
from domain.turns.engine import start_checkpoint
from domain.turns.turn import SessionStatus, Turn
from domain.usage import Cost, Usage, merge_costs

MAX_VISIBLE_TURNS = 200
"""Maximum turns of the visible branch in a view, newest kept; older ones are paged from the store."""
MAX_BRANCHES = 50
"""Maximum discarded branches in a view, newest kept."""
MAX_BRANCH_TURNS = 50
"""Maximum turns of one discarded branch in a view, newest kept."""


class SessionHead(FrozenModel):
    """The small, changing state of a session. `run_id` and `version` together identify one state.

    `head_turn_id` is the newest visible turn; `leaf_turn_id` is the last turn of the active branch, which after a
    rewind is past the cursor.
    """

    run_id: str
    version: int
    revision: int
    status: SessionStatus
    cursor_turn_id: str | None
    head_turn_id: str | None
    current_node_id: str
    gathered_context: dict[str, JsonValue]
    is_completed: bool
    completion_reason: str | None
    usage: Usage
    cost: Cost
    turns_before: int
    approvals: tuple[WaitingApproval, ...] = ()
    fetched_context: dict[str, JsonValue] = {}
    created_at: datetime
    updated_at: datetime
    leaf_turn_id: str | None = None
    forked_from: ForkPoint | None = None
    simulator: SimulatorStatus | None = None
    client_calls: tuple[WaitingClientCall, ...] = ()


class BranchView(FrozenModel):
    """A discarded branch with its newest turns, oldest first.

    `turn_count`, `cost` and `head_turn_id`, its first turn, are those of the whole branch.
    """

    id: str
    rewound_from_turn_id: str | None
    leaf_turn_id: str
    discarded_at: datetime
    turns: tuple[Turn, ...]
    turn_count: int = 0
    cost: Cost = Cost()
    head_turn_id: str | None = None


class TimelineView(FrozenModel):
    """The visible branch of a session, oldest turn first, and its discarded branches.

    `future` are the turns past the cursor after a rewind, oldest first, until the next message discards them.

    `is_unrecorded` is true while some changes are neither in the store nor in a settlement under way;
    `recording_version` is the version of the head in a settlement under way.
    `returned_call_ids` are the newest calls of client tools that have their results.
    """

    head: SessionHead
    turns: tuple[Turn, ...]
    discarded_branches: tuple[BranchView, ...] = ()
    future: tuple[Turn, ...] = ()
    is_unrecorded: bool = False
    recording_version: int | None = None
    returned_call_ids: tuple[str, ...] = ()

    @property
    def all_turns(self) -> tuple[Turn, ...]:
        """The turns of every branch: the visible ones, those past the cursor, and those of discarded branches."""
        return (*self.turns, *self.future, *(turn for branch in self.discarded_branches for turn in branch.turns))


def head_of(timeline: Timeline, agent: AgentDefinition, run_id: str) -> SessionHead:
    """The head of a session, as of its newest visible turn.

    After a rewind the node and the gathered context are those of the cursor. Usage and cost include every branch: a
    rewind does not refund usage.
    """
    newest = timeline.head
    checkpoint = timeline.checkpoint_before(newest.id if newest else None) or start_checkpoint(agent)
    elapsed = ((timeline.ended_at or timeline.updated_at) - timeline.created_at).total_seconds()
    return SessionHead(
        run_id=run_id,
        version=timeline.version,
        revision=timeline.revision,
        status=timeline.status,
        cursor_turn_id=timeline.cursor.turn_id if timeline.cursor else None,
        head_turn_id=newest.id if newest else None,
        current_node_id=checkpoint.node_id,
        gathered_context={**checkpoint.gathered_context, **(timeline.learned_context or {})},
        is_completed=timeline.is_completed,
        completion_reason=timeline.completion_reason,
        usage=timeline.usage.model_copy(update={"duration_seconds": round(elapsed, 3)}),
        cost=timeline.cost,
        turns_before=max((newest.index + 1 if newest else 0) - MAX_VISIBLE_TURNS, 0),
        approvals=timeline.approvals,
        fetched_context=timeline.fetched_context or {},
        created_at=timeline.created_at,
        updated_at=timeline.updated_at,
        leaf_turn_id=timeline.leaf_id,
        forked_from=timeline.forked_from,
        simulator=simulated_caller.status_of(timeline),
        client_calls=timeline.client_calls,
    )


def recorded_head_of(timeline: Timeline, agent: AgentDefinition, run_id: str) -> SessionHead:
    """The head as stored: its turn ids are those of the newest turns that are not pending, as only those are stored."""
    head = head_of(timeline, agent, run_id)
    closed = {
        "head_turn_id": _newest_closed(timeline.visible_turns()),
        "leaf_turn_id": _newest_closed(timeline.path_to(timeline.leaf_id)),
    }
    return head.model_copy(update=closed)


def view_of(timeline: Timeline, agent: AgentDefinition, run_id: str) -> TimelineView:
    """The view of a timeline, limited to the newest turns and branches."""
    newest_first = list(islice(timeline.visible_turns(), MAX_VISIBLE_TURNS))
    branches = tuple(
        branch_view(branch, timeline.turns_of(branch)) for branch in timeline.discarded_branches[-MAX_BRANCHES:]
    )
    future = list(islice(timeline.turns_past_cursor(), MAX_VISIBLE_TURNS))
    return TimelineView(
        head=head_of(timeline, agent, run_id),
        turns=tuple(newest_first[::-1]),
        discarded_branches=branches,
        future=tuple(future[::-1]),
        returned_call_ids=tuple(call.call_id for call in timeline.returned_calls),
    )


def branch_view(branch: DiscardedBranch, turns: Sequence[Turn]) -> BranchView:
    """The view of a branch with all of its turns, oldest first."""
    return BranchView(
        id=branch.id,
        rewound_from_turn_id=branch.rewound_from_turn_id,
        leaf_turn_id=branch.leaf_turn_id,
        discarded_at=branch.discarded_at,
        turns=tuple(turns[-MAX_BRANCH_TURNS:]),
        turn_count=len(turns),
        cost=merge_costs(turn.cost for turn in turns),
        head_turn_id=turns[0].id if turns else None,
    )


def _newest_closed(newest_first: Iterable[Turn]) -> str | None:
    return next((turn.id for turn in newest_first if turn.status != "pending"), None)
