"""The demo's audit: compares Temporal's history, the store and the ledger. Pure.

`playhead/demo/evidence.py` reads each of these records independently. They are compared turn by turn, step by step and
by their sums; every mismatch is described.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from domain.usage import Cost, Usage, merge_costs, merge_usage


class StepKey(NamedTuple):
    """One model call: its turn, and its index in the turn from 0."""

    turn_id: str
    step: int


class TurnTexts(NamedTuple):
    """The two messages of a turn. `person` is None for the greeting."""

    person: str | None
    agent: str | None


@dataclass(frozen=True)
class Spending:
    """Usage and cost of model calls, by model, without durations."""

    usage: Usage
    cost: Cost

    def __str__(self) -> str:
        unpriced = f", unpriced: {', '.join(self.cost.unpriced_models)}" if self.cost.unpriced_models else ""
        return (
            f"{_count(self.usage.requests, 'request')}, {_count(self.usage.total_tokens, 'token')}, "
            f"{self.cost.total.normalize():f} {self.cost.currency}{unpriced}"
        )


@dataclass(frozen=True)
class HistoryRecord:
    """The session by Temporal's history: opened turns, turns passed to settlement, and completed steps.

    `retried` is the number of steps that needed more than one attempt.
    """

    opened: tuple[str, ...]
    settled: frozenset[str]
    steps: Mapping[StepKey, Spending]
    retried: int = 0


@dataclass(frozen=True)
class StoreRecord:
    """The session by the store's tables: recorded turns and saved steps."""

    turns: Mapping[str, TurnTexts]
    steps: Mapping[StepKey, Spending]


@dataclass(frozen=True)
class LedgerRow:
    """One row of the ledger: a turn and its bill."""

    turn_id: str
    spent: Spending


@dataclass(frozen=True)
class Totals:
    """The organization's totals as the API returns them."""

    turns: int
    spent: Spending


@dataclass(frozen=True)
class Evidence:
    """All records of one session. `answered` are the turns as returned over HTTP, oldest first."""

    answered: Mapping[str, TurnTexts]
    history: HistoryRecord
    store: StoreRecord
    ledger: tuple[LedgerRow, ...]
    totals: Totals


@dataclass(frozen=True)
class AuditResult:
    """The demo's result in numbers, and a description of every mismatch."""

    turns: int
    billed: int
    lost: int
    billed_twice: int
    mismatches: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        return not self.mismatches and self.lost == 0 and self.billed_twice == 0 and self.turns == self.billed

    def summary(self) -> str:
        """The last line of the demo's output."""
        figures = f"{self.turns} turns, {self.billed} billed, {self.lost} lost, {self.billed_twice} billed twice"
        if self.is_ok:
            return f"demo: ok, {figures}"
        return f"demo: failed, {figures}: {'; '.join(self.mismatches)}"


def spending_of(usage: Usage, cost: Cost) -> Spending:
    """Usage and cost in a normal form, in which equal amounts compare equal."""
    return total_of([Spending(usage, cost)])


def total_of(spendings: Iterable[Spending]) -> Spending:
    """The sum by model, without durations and zero amounts."""
    listed = list(spendings)
    cost = merge_costs(spent.cost for spent in listed)
    amounts = {model: amount for model, amount in sorted(cost.breakdown.items()) if amount}
    return Spending(
        usage=Usage(llm=merge_usage(spent.usage for spent in listed).llm),
        cost=cost.model_copy(update={"breakdown": amounts, "total": sum(amounts.values(), Decimal(0))}),
    )


def audit(evidence: Evidence) -> AuditResult:
    """Compare the records. A turn is lost if it was answered or opened and any record lacks it.

    Every ledger row beyond one per turn, and every saved step that the history lacks, counts as billed twice.
    """
    history, store = evidence.history, evidence.store
    turns = list(dict.fromkeys((*history.opened, *evidence.answered)))
    billed = Counter(row.turn_id for row in evidence.ledger)
    missing = {turn_id: _places_without(turn_id, evidence) for turn_id in turns}
    return AuditResult(
        turns=len(history.opened),
        billed=len(evidence.ledger),
        lost=sum(1 for places in missing.values() if places),
        billed_twice=(len(evidence.ledger) - len(billed.keys() & set(turns))) + len(store.steps.keys() - history.steps),
        mismatches=(
            *_lost_turns(missing),
            *_different_texts(evidence),
            *_surplus(evidence, set(turns), billed),
            *_different_steps(history.steps, store.steps),
            *_different_bills(evidence),
            *_different_sums(evidence),
        ),
    )


def _places_without(turn_id: str, evidence: Evidence) -> list[str]:
    places = {
        "Temporal's history": evidence.history.opened,
        "the settled records of the history": evidence.history.settled,
        "the store": evidence.store.turns,
        "the ledger": [row.turn_id for row in evidence.ledger],
    }
    return [place for place, known in places.items() if turn_id not in known]


def _lost_turns(missing: Mapping[str, list[str]]) -> Iterator[str]:
    for turn_id, places in missing.items():
        if places:
            yield f"{turn_id} is missing in {' and in '.join(places)}"


def _different_texts(evidence: Evidence) -> Iterator[str]:
    for turn_id, texts in evidence.answered.items():
        if evidence.store.turns.get(turn_id, texts) != texts:
            yield f"{turn_id} has other texts in the store than were returned over HTTP"


def _surplus(evidence: Evidence, turns: set[str], billed: Counter[str]) -> Iterator[str]:
    for turn_id in evidence.history.opened:
        if turn_id not in evidence.answered:
            yield f"Temporal's history has {turn_id}, which was not returned over HTTP"
    for turn_id, rows in billed.items():
        if rows > 1:
            yield f"{turn_id} has {rows} rows in the ledger"
        if turn_id not in turns:
            yield f"the ledger bills {turn_id}, which Temporal's history does not know"
    for turn_id in sorted(evidence.store.turns.keys() - turns):
        yield f"the store has {turn_id}, which Temporal's history does not know"


def _different_steps(completed: Mapping[StepKey, Spending], saved: Mapping[StepKey, Spending]) -> Iterator[str]:
    for key in sorted(completed.keys() | saved.keys()):
        name = f"step {key.step + 1} of {key.turn_id}"
        if key not in saved:
            yield f"{name} is missing in the store, but completed in Temporal's history"
        elif key not in completed:
            yield f"{name} is saved in the store, but did not complete in Temporal's history"
        elif completed[key] != saved[key]:
            yield f"{name} is {saved[key]} in the store, but {completed[key]} in Temporal's history"


def _different_bills(evidence: Evidence) -> Iterator[str]:
    for row in evidence.ledger:
        saved = total_of(spent for key, spent in evidence.store.steps.items() if key.turn_id == row.turn_id)
        if row.spent != saved:
            yield f"the ledger bills {row.turn_id} with {row.spent}, but its saved steps sum up to {saved}"


def _different_sums(evidence: Evidence) -> Iterator[str]:
    billed = total_of(row.spent for row in evidence.ledger)
    saved = total_of(evidence.store.steps.values())
    totals = evidence.totals
    if billed != saved:
        yield f"the ledger sums up to {billed}, but the saved steps to {saved}"
    if totals.spent != billed:
        yield f"GET /v1/usage returns {totals.spent}, but the ledger sums up to {billed}"
    if totals.turns != len(evidence.ledger):
        yield f"GET /v1/usage returns {totals.turns} turns, but the ledger has {len(evidence.ledger)} rows"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
