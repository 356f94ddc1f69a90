"""Recovery of a timeline from the store's record, which may have turns that the session has lost or never had.

A reset takes history away from a workflow, and a restored database takes records away from the store. Nothing that
was said or paid for disappears: turns that a reset took away are kept as discarded branches, and revisions never go
back.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from domain.durable import FrozenModel
from domain.sessions.timeline import DiscardedBranch, Timeline
from domain.turns.turn import Turn
from domain.usage import Cost, Usage, merge_costs, merge_usage

LOST_REPLY = "The session was reset while this turn was answered."
"""The error of a turn whose reply a reset took away."""


class SessionRecord(FrozenModel):
    """The store's record of a session.

    `unknown_turns` are recorded turns that the session did not name, parents first; `missing_turn_ids` are turns that
    the session named and the store does not have. `usage` and `cost` are the sums of the session's ledger rows, except
    the judge's, and `billed_ids` the turns and auxiliary calls that these rows are for.
    """

    exists: bool = False
    revision: int = 0
    version: int = 0
    unknown_turns: tuple[Turn, ...] = ()
    missing_turn_ids: tuple[str, ...] = ()
    usage: Usage = Usage()
    cost: Cost = Cost()
    billed_ids: tuple[str, ...] = ()


def recover(timeline: Timeline, record: SessionRecord, *, was_reset: bool, at: datetime) -> Timeline:
    """Merge a timeline with the store's record of the session.

    Turns that only the store has become discarded branches that start where they leave the timeline; turns that only
    the timeline has are recorded again. The revision continues from the higher of both, plus one unless only the store
    has lost something. Usage and cost are those of the ledger, plus what is still to be billed; nothing else changes if
    the timeline agrees with its record and was not reset.
    """
    found = _adoptable(timeline, record.unknown_turns)
    is_ahead = record.exists and (record.version > timeline.version or record.revision > timeline.revision)
    branches = _branches(timeline, found, at)
    usage, cost = _spent(timeline, record)
    if not (found or record.missing_turn_ids or was_reset or is_ahead):
        return timeline.model_copy(update={"usage": usage, "cost": cost})
    recovered = timeline.model_copy(
        update={
            "turns": {**timeline.turns, **found},
            "discarded_branches": (*timeline.discarded_branches, *branches),
            "unrecorded": timeline.unrecorded.model_copy(
                update={
                    "turn_ids": tuple(dict.fromkeys((*timeline.unrecorded.turn_ids, *record.missing_turn_ids))),
                    "branches": (*timeline.unrecorded.branches, *branches),
                }
            ),
        }
    )
    was_set_back = was_reset or bool(found) or is_ahead
    recovered = recovered.changed(at=at, accepted=False, usage=usage, cost=cost).model_copy(
        update={
            "version": max(timeline.version, record.version) + 1,
            "revision": max(timeline.revision, record.revision) + (1 if was_set_back else 0),
        }
    )
    if record.exists:
        recovered = recovered.model_copy(update={"recorded_version": record.version})
    if not was_set_back:
        return recovered
    return recovered.with_fact(
        "session_reset", at, revision=recovered.revision, branch_ids=[branch.id for branch in branches]
    )


def _adoptable(timeline: Timeline, turns: Sequence[Turn]) -> dict[str, Turn]:
    """The recorded turns that connect to the timeline, by id. A turn whose parent is in neither is left out."""
    found: dict[str, Turn] = {}
    for turn in turns:
        has_parent = turn.parent_id is None or turn.parent_id in timeline.turns or turn.parent_id in found
        if turn.id not in timeline.turns and has_parent:
            found[turn.id] = _closed(turn)
    return found


def _closed(turn: Turn) -> Turn:
    """The turn as it is kept: a pending turn becomes a failed one, because it gets no reply any more."""
    if turn.status != "pending":
        return turn
    return turn.model_copy(update={"status": "failed", "error": LOST_REPLY})


def _branches(timeline: Timeline, found: Mapping[str, Turn], at: datetime) -> list[DiscardedBranch]:
    """A discarded branch for every leaf among the turns found, from where it leaves the turns kept before it."""
    parents = {turn.parent_id for turn in found.values()}
    kept = set(timeline.turns)
    branches = []
    for leaf in (turn for turn in found.values() if turn.id not in parents):
        path = [leaf.id]
        parent_id = leaf.parent_id
        while parent_id is not None and parent_id not in kept:
            path.append(parent_id)
            parent_id = found[parent_id].parent_id
        kept.update(path)
        branches.append(
            DiscardedBranch(
                id=f"br_{leaf.id.removeprefix('turn_')}",
                rewound_from_turn_id=parent_id,
                leaf_turn_id=leaf.id,
                discarded_at=at,
            )
        )
    return branches


def _spent(timeline: Timeline, record: SessionRecord) -> tuple[Usage, Cost]:
    """The sums of the ledger, plus the closed turns and auxiliary calls that are not in it yet."""
    if not record.exists:
        return timeline.usage, timeline.cost
    billed = set(record.billed_ids)
    shared = set(timeline.taken_over(timeline.turns))
    unbilled = [
        turn
        for turn in timeline.turns.values()
        if turn.id not in billed and turn.id not in shared and turn.status != "pending"
    ]
    calls = [call for call in timeline.unrecorded.auxiliary_calls if call.id not in billed]
    return (
        merge_usage([record.usage, *(turn.usage for turn in unbilled), *(call.usage for call in calls)]),
        merge_costs([record.cost, *(turn.cost for turn in unbilled), *(call.cost for call in calls)]),
    )
