"""Reconciliation: the scheduled comparison of the store with Temporal, and of a session with its record."""

from typing import Literal

from contracts.recovery import RestoreTurnsInput
from contracts.sessions import SettleTurnsInput
from domain.durable import FrozenModel

UNSETTLED_QUERY = "unsettled"
"""The query of a session for what the store has not recorded."""
COMPARE_SIGNAL = "compare_record"
"""The signal that has a session compare itself with its record."""

Subject = Literal["session", "suite"]
Action = Literal["closed", "billed", "compared", "recreated", "settled", "left"]
"""Effect of a reconciliation on one session or suite.

`closed`: its end was recorded in the store. `billed`: model calls that were paid for after its end were billed.
`compared`: the running session was asked to compare itself with its record. `recreated`: its row in the store was
created again. `settled`: what the history of a suite holds was recorded again. `left`: nothing was changed.
"""


class UnsettledInput(FrozenModel):
    """The record of a session: the closed turns that the store has, and the version that it recorded last."""

    recorded_turn_ids: tuple[str, ...] = ()
    recorded_version: int | None = None
    with_turns: bool = False


class UnsettledTurns(FrozenModel):
    """A session compared with its record.

    `turns` counts its closed turns. `missing` of them are not in the store and, unless `with_turns` was requested, not
    about to be settled either; `unknown` counts the turns that only the store has. `is_apart` is true if there are any
    such turns, or if the versions differ. `restore` and `settle` are set for `with_turns`: a part of the missing turns,
    and everything that was still to be settled.
    """

    version: int
    revision: int
    turns: int
    missing: int = 0
    unknown: int = 0
    is_apart: bool = False
    restore: RestoreTurnsInput | None = None
    settle: SettleTurnsInput | None = None


class Difference(FrozenModel):
    """A difference between the store and Temporal, and its treatment.

    `found` is the reason for which a session or suite was closed (`workflow_terminated`, `workflow_not_found`, ...), or
    `store_behind`, `temporal_behind`, `apart`, `unknown_to_store`, `unbilled`, `no_worker`. Turns are counted where
    they were compared.
    """

    subject: Subject
    id: str
    organization_id: str
    found: str
    done: Action
    billed: int = 0
    turns_in_store: int | None = None
    turns_in_temporal: int | None = None


class ReconcileInput(FrozenModel):
    """One bounded reconciliation. `name` identifies the schedule, `before` is the result of its last run."""

    name: str
    before: "ReconciliationResult | None" = None


class ReconciliationResult(FrozenModel):
    """The result of a reconciliation, and the point from which the next one continues.

    `generation` counts the runs of a schedule, in the store and in Temporal: they differ after either was restored.
    Then every session is compared turn by turn (`is_thorough`), until all have been. `next_session` and `next_suite`
    are row numbers; 0 begins again. `counts` has the number of findings by `found`, `findings` the first of them.
    """

    generation: int = 0
    next_session: int = 0
    next_suite: int = 0
    is_thorough: bool = False
    sessions: int = 0
    suites: int = 0
    turns_in_store: int = 0
    turns_in_temporal: int = 0
    counts: dict[str, int] = {}
    findings: tuple[Difference, ...] = ()
    rejection: str | None = None


class StartReconciliation(FrozenModel):
    """Input of the reconciliation workflow."""

    name: str


def reconciliation_schedule_id(task_queue: str) -> str:
    """Id of the schedule that the workers of a task queue keep, and of its workflows."""
    return f"reconciliation-{task_queue}"
