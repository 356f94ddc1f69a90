"""The demo's final account: whether Temporal's history, the store and the ledger tell the same story. Pure.

Each witness is read on its own (`playhead/demo/evidence.py`). Here they are compared turn by turn, step by step
and in their sums; whatever differs is named with the place where it differs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from domain.usage import Cost, Usage, merge_costs, merge_usage


class StepKey(NamedTuple):
    """One model call: the turn it was made for, and its place in it from 0."""

    turn_id: str
    step: int


class Words(NamedTuple):
    """What a turn consists of for the people in it. `person` is None for the greeting."""

    person: str | None
    agent: str | None


@dataclass(frozen=True)
class Spent:
    """What model calls used and cost, model by model. How long they took is left out: nobody pays for that."""

    usage: Usage
    cost: Cost

    def __str__(self) -> str:
        unpriced = f", unpriced: {', '.join(self.cost.unpriced_models)}" if self.cost.unpriced_models else ""
        return (
            f"{_count(self.usage.requests, 'request')}, {_count(self.usage.total_tokens, 'token')}, "
            f"{self.cost.total.normalize():f} {self.cost.currency}{unpriced}"
        )


@dataclass(frozen=True)
class HistoryAccount:
    """What Temporal's own history of the session says: turns opened and handed to settling, and steps completed.

    `retried` of the steps needed more than one attempt.
    """

    opened: tuple[str, ...]
    settled: frozenset[str]
    steps: Mapping[StepKey, Spent]
    retried: int = 0


@dataclass(frozen=True)
class StoreAccount:
    """What the store's tables say: turns recorded, and steps saved as bought."""

    turns: Mapping[str, Words]
    steps: Mapping[StepKey, Spent]


@dataclass(frozen=True)
class LedgerRow:
    """One row of the ledger: a turn and what it is billed."""

    turn_id: str
    spent: Spent


@dataclass(frozen=True)
class Totals:
    """What the organization is told that it used: turns, and the sum of what they spent."""

    turns: int
    spent: Spent


@dataclass(frozen=True)
class Evidence:
    """All accounts of one conversation. `said` are the turns as they were answered over HTTP, oldest first."""

    said: Mapping[str, Words]
    history: HistoryAccount
    store: StoreAccount
    ledger: tuple[LedgerRow, ...]
    totals: Totals


@dataclass(frozen=True)
class Verdict:
    """The demo's result in figures, and every mismatch in words."""

    turns: int
    billed: int
    lost: int
    billed_twice: int
    faults: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        return not self.faults and self.lost == 0 and self.billed_twice == 0 and self.turns == self.billed

    def line(self) -> str:
        """The demo's last line."""
        figures = f"{self.turns} turns, {self.billed} billed, {self.lost} lost, {self.billed_twice} billed twice"
        if self.is_ok:
            return f"demo: ok, {figures}"
        return f"demo: failed, {figures}: {'; '.join(self.faults)}"


def spent_on(usage: Usage, cost: Cost) -> Spent:
    """What was spent, in the one form in which equal amounts are equal values."""
    return total_of([Spent(usage, cost)])


def total_of(spendings: Iterable[Spent]) -> Spent:
    """The sum, model by model, without durations and without amounts of zero."""
    listed = list(spendings)
    cost = merge_costs(spent.cost for spent in listed)
    amounts = {model: amount for model, amount in sorted(cost.breakdown.items()) if amount}
    return Spent(
        usage=Usage(llm=merge_usage(spent.usage for spent in listed).llm),
        cost=cost.model_copy(update={"breakdown": amounts, "total": sum(amounts.values(), Decimal(0))}),
    )


def audit(evidence: Evidence) -> Verdict:
    """Compare the accounts. A turn is lost when it was said or opened and any account lacks it.

    Billed twice is every ledger row beyond one for each turn, and every step that the store saved as bought
    although the history never saw it.
    """
    history, store = evidence.history, evidence.store
    turns = list(dict.fromkeys((*history.opened, *evidence.said)))
    billed = Counter(row.turn_id for row in evidence.ledger)
    missing = {turn_id: _places_without(turn_id, evidence) for turn_id in turns}
    return Verdict(
        turns=len(history.opened),
        billed=len(evidence.ledger),
        lost=sum(1 for places in missing.values() if places),
        billed_twice=(len(evidence.ledger) - len(billed.keys() & set(turns))) + len(store.steps.keys() - history.steps),
        faults=(
            *_lost_turns(missing),
            *_other_words(evidence),
            *_surplus(evidence, set(turns), billed),
            *_different_steps(history.steps, store.steps),
            *_different_bills(evidence),
            *_different_sums(evidence),
        ),
    )


def _places_without(turn_id: str, evidence: Evidence) -> list[str]:
    places = {
        "Temporal's history": evidence.history.opened,
        "the settle_turns inputs of the history": evidence.history.settled,
        "the store": evidence.store.turns,
        "the ledger": [row.turn_id for row in evidence.ledger],
    }
    return [place for place, known in places.items() if turn_id not in known]


def _lost_turns(missing: Mapping[str, list[str]]) -> Iterator[str]:
    for turn_id, places in missing.items():
        if places:
            yield f"{turn_id} is missing in {' and in '.join(places)}"


def _other_words(evidence: Evidence) -> Iterator[str]:
    for turn_id, words in evidence.said.items():
        if evidence.store.turns.get(turn_id, words) != words:
            yield f"{turn_id} has other words in the store than were answered over HTTP"


def _surplus(evidence: Evidence, turns: set[str], billed: Counter[str]) -> Iterator[str]:
    for turn_id in evidence.history.opened:
        if turn_id not in evidence.said:
            yield f"Temporal's history has {turn_id}, which nobody was told of"
    for turn_id, rows in billed.items():
        if rows > 1:
            yield f"{turn_id} has {rows} rows in the ledger"
        if turn_id not in turns:
            yield f"the ledger bills {turn_id}, which Temporal's history does not know"
    for turn_id in sorted(evidence.store.turns.keys() - turns):
        yield f"the store has {turn_id}, which Temporal's history does not know"


def _different_steps(told: Mapping[StepKey, Spent], saved: Mapping[StepKey, Spent]) -> Iterator[str]:
    for key in sorted(told.keys() | saved.keys()):
        name = f"step {key.step + 1} of {key.turn_id}"
        if key not in saved:
            yield f"{name} is missing in the store, but completed in Temporal's history"
        elif key not in told:
            yield f"{name} is saved in the store, but did not complete in Temporal's history"
        elif told[key] != saved[key]:
            yield f"{name} is {saved[key]} in the store, but {told[key]} in Temporal's history"


def _different_bills(evidence: Evidence) -> Iterator[str]:
    for row in evidence.ledger:
        bought = total_of(spent for key, spent in evidence.store.steps.items() if key.turn_id == row.turn_id)
        if row.spent != bought:
            yield f"the ledger bills {row.turn_id} with {row.spent}, but its saved steps sum up to {bought}"


def _different_sums(evidence: Evidence) -> Iterator[str]:
    billed = total_of(row.spent for row in evidence.ledger)
    saved = total_of(evidence.store.steps.values())
    totals = evidence.totals
    if billed != saved:
        yield f"the ledger sums up to {billed}, but the saved steps to {saved}"
    if totals.spent != billed:
        yield f"GET /v1/usage tells {totals.spent}, but the ledger sums up to {billed}"
    if totals.turns != len(evidence.ledger):
        yield f"GET /v1/usage tells {totals.turns} turns, but the ledger has {len(evidence.ledger)} rows"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
