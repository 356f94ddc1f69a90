"""One complete example of every contract of reconciliation: no field is left at its default."""

from collections.abc import Iterable

from contracts.reconciliation import (
    Difference,
    ReconcileInput,
    ReconciliationResult,
    StartReconciliation,
    UnsettledInput,
    UnsettledTurns,
)
from contracts.recovery import RestoreTurnsInput
from contracts.sessions import SettleTurnsInput
from domain.durable import FrozenModel


def reconciliation_examples(examples: Iterable[FrozenModel]) -> tuple[FrozenModel, ...]:
    """The examples, built from examples of the models that they contain."""
    carried = list(examples)
    restore = next(each for each in carried if isinstance(each, RestoreTurnsInput))
    settle = next(each for each in carried if isinstance(each, SettleTurnsInput))
    finding = Difference(
        subject="suite",
        id="sui_1",
        organization_id="org_1",
        found="workflow_terminated",
        done="closed",
        billed=2,
        turns_in_store=3,
        turns_in_temporal=5,
    )
    result = ReconciliationResult(
        generation=7,
        next_session=1_000,
        next_suite=20,
        is_thorough=True,
        sessions=90,
        suites=2,
        turns_in_store=300,
        turns_in_temporal=302,
        counts={"workflow_terminated": 1},
        findings=(finding,),
        rejection="Temporal knows none of the sessions of this store.",
    )
    return (
        UnsettledInput(recorded_turn_ids=("t0", "t1"), recorded_version=12, with_turns=True),
        UnsettledTurns(
            version=14,
            revision=9,
            turns=5,
            missing=2,
            unknown=1,
            is_apart=True,
            restore=restore,
            settle=settle,
        ),
        finding,
        ReconcileInput(name="reconciliation-playhead", before=result),
        result,
        StartReconciliation(name="reconciliation-playhead"),
    )
