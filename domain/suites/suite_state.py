"""The rules of a suite under way: which run starts next, what it may cost, when it is over, and what came of it.

Money is held, not hoped for: a run starts only when the most that it can cost fits in what is left of the budget.
That most is its session's limit, the exchange that crosses it (a limit is looked at between a reply and the next line,
and nobody knows the price of either before it is bought), and the judge. Both are taken to be as dear as the dearest
so far. A run that does not fit waits until others have been judged and give back what they did not use. A run that does
not fit although none is under way gets what is left, alone.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Literal

from domain.durable import FrozenModel
from domain.rejections import CommandRejected
from domain.suites.scenario import Scenario, Suite
from domain.suites.verdicts import Outcome
from domain.usage import Money

SuiteStatus = Literal["running", "paused", "completed", "cancelled"]

MAX_BUDGET_SHARES_PER_RUN = 2
"""A run without a cost limit of its own may use so many times its equal share of the budget."""
MAX_CALLS_PAST_LIMIT = 2
"""What a run may buy after its session has come to its limit: the exchange that crosses it, and the judge."""


class Run(FrozenModel):
    """One conversation of a suite: a scenario, and which of its repeats this is, from 1."""

    scenario: str
    repeat: int

    def session_id(self, suite_id: str) -> str:
        """The session of the run: always the same one, so that a start that is tried again finds it."""
        digest = sha256(f"{suite_id}\n{self.scenario}\n{self.repeat}".encode()).hexdigest()
        return f"ses_{digest[:24]}"


class StartedRun(FrozenModel):
    """A run that may start. Its session may spend `limit`, and the suite holds `held` until it is judged."""

    run: Run
    limit: Money | None = None
    held: Money = Decimal(0)


class Tally(FrozenModel):
    """What came of the runs of one scenario so far."""

    passed: int = 0
    failed: int = 0
    inconclusive: int = 0

    @property
    def runs(self) -> int:
        return self.passed + self.failed + self.inconclusive


class SuiteState(FrozenModel):
    """What a suite keeps while it goes on, also through continue-as-new.

    `started` counts the runs that were taken from the plan, `under_way` holds by session id those that have no
    verdict yet. `largest_call` is what the dearest exchange so far has cost, or the dearest judge.
    """

    started: int = 0
    under_way: dict[str, StartedRun] = {}
    tallies: dict[str, Tally] = {}
    spent: Money = Decimal(0)
    largest_call: Money | None = None
    is_paused: bool = False
    is_cancelled: bool = False

    @property
    def held(self) -> Decimal:
        """What the runs under way may still cost."""
        return sum((started.held for started in self.under_way.values()), start=Decimal(0))


class SuiteProgress(FrozenModel):
    """How far a suite is. `cost` is of the runs that were judged."""

    status: SuiteStatus
    planned: int
    running: int
    passed: int
    failed: int
    inconclusive: int
    cost: Money


def plan_of(suite: Suite) -> tuple[Run, ...]:
    """Every run, in the order of their starts: each scenario once, then each once more, so that all show early."""
    repeats = {scenario.id: suite.repeats_of(scenario) for scenario in suite.scenarios}
    rounds = range(1, max(repeats.values()) + 1)
    return tuple(Run(scenario=name, repeat=number) for number in rounds for name in repeats if number <= repeats[name])


def cost_limit(suite: Suite, scenario: Scenario, of_agent: Decimal | None, planned: int) -> Decimal | None:
    """What the session of a run may spend: the lowest limit that was named, or a share of the budget if none was."""
    named = [limit for limit in (scenario.limits.max_cost_usd, of_agent) if limit is not None]
    if named:
        return min(named)
    return None if suite.budget_usd is None else suite.budget_usd * MAX_BUDGET_SHARES_PER_RUN / planned


def next_start(state: SuiteState, suite: Suite, plan: tuple[Run, ...], limit: Decimal | None) -> StartedRun | None:
    """The next run of the plan if it may start now; `limit` is what `cost_limit` says of it."""
    is_free = not state.is_paused and not state.is_cancelled and len(state.under_way) < suite.concurrency
    if not is_free or state.started >= len(plan):
        return None
    run = plan[state.started]
    if suite.budget_usd is None or limit is None:
        return StartedRun(run=run, limit=limit)
    left = suite.budget_usd - state.spent - state.held
    # Before anything has a price, an exchange may cost as much as the whole session may.
    dearest = limit if state.largest_call is None else state.largest_call
    most = limit + MAX_CALLS_PAST_LIMIT * dearest
    if most <= left:
        return StartedRun(run=run, limit=limit, held=most)
    if not state.under_way and not is_exhausted(state, suite):
        return StartedRun(run=run, limit=min(limit, _limit_for_last_run(state, suite.budget_usd)), held=left)
    return None


def record_start(state: SuiteState, session_id: str, started: StartedRun) -> SuiteState:
    """Take the next run from the plan."""
    under_way = {**state.under_way, session_id: started}
    return state.model_copy(update={"started": state.started + 1, "under_way": under_way})


def may_judge(state: SuiteState, suite: Suite, session_id: str, cost: Decimal) -> bool:
    """Whether the budget has room for the judge of a session that cost so much."""
    if suite.budget_usd is None:
        return True
    others = state.held - state.under_way[session_id].held
    return state.spent + others + cost < suite.budget_usd


def record_outcome(
    state: SuiteState, session_id: str, outcome: Outcome, *, cost: Decimal, largest_call: Decimal | None
) -> SuiteState:
    """Take in what came of a run, and give back what was held for it. Taking it in again changes nothing."""
    started = state.under_way.get(session_id)
    if started is None:
        return state
    scenario = started.run.scenario
    tally = state.tallies.get(scenario, Tally())
    counted = tally.model_copy(update={outcome: getattr(tally, outcome) + 1})
    calls = [call for call in (state.largest_call, largest_call) if call is not None]
    return state.model_copy(
        update={
            "under_way": {name: each for name, each in state.under_way.items() if name != session_id},
            "tallies": {**state.tallies, scenario: counted},
            "spent": state.spent + cost,
            "largest_call": max(calls, default=None),
        }
    )


def pause(state: SuiteState) -> SuiteState:
    """Start no more runs until `resume`; those under way go on.

    Raises CommandRejected("suite_ended") once cancelled.
    """
    _require_open(state)
    return state.model_copy(update={"is_paused": True})


def resume(state: SuiteState) -> SuiteState:
    """Start runs again. Raises CommandRejected("suite_ended") once cancelled."""
    _require_open(state)
    return state.model_copy(update={"is_paused": False})


def cancel(state: SuiteState) -> SuiteState:
    """Start no more runs, for good. Cancelling again changes nothing."""
    return state.model_copy(update={"is_cancelled": True, "is_paused": False})


def is_over(state: SuiteState, suite: Suite, plan: tuple[Run, ...]) -> bool:
    """Whether every run has its verdict, or no further one will start."""
    if state.under_way:
        return False
    return state.is_cancelled or state.started >= len(plan) or is_exhausted(state, suite)


def is_exhausted(state: SuiteState, suite: Suite) -> bool:
    """Whether what is left would not pay for an exchange and a judge."""
    return suite.budget_usd is not None and _limit_for_last_run(state, suite.budget_usd) <= 0


def status_of(state: SuiteState, suite: Suite, plan: tuple[Run, ...]) -> SuiteStatus:
    """What the suite does."""
    if state.is_cancelled:
        return "cancelled"
    if is_over(state, suite, plan):
        return "completed"
    return "paused" if state.is_paused else "running"


def progress_of(state: SuiteState, suite: Suite, plan: tuple[Run, ...]) -> SuiteProgress:
    """How far the suite is."""
    tallies = state.tallies.values()
    return SuiteProgress(
        status=status_of(state, suite, plan),
        planned=len(plan),
        running=len(state.under_way),
        passed=sum(tally.passed for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
        inconclusive=sum(tally.inconclusive for tally in tallies),
        cost=state.spent,
    )


def outcome_of(suite: Suite, tallies: Mapping[str, Tally]) -> Outcome:
    """What came of the whole: failed if one scenario did, passed if all did, and otherwise nobody can tell."""
    found = {
        outcome_of_scenario(tallies.get(scenario.id, Tally()), suite.repeats_of(scenario), suite.min_pass_rate)
        for scenario in suite.scenarios
    }
    return _worst(found)


def outcome_of_scenario(tally: Tally, planned: int, min_pass_rate: float) -> Outcome:
    """Passed when enough of the planned runs passed, failed when too many failed for the others to make up for it.

    What is inconclusive, or was never run, could have gone either way.
    """
    wanted = Decimal(str(min_pass_rate)) * planned  # exactly what was written: 0.7 of 10 are 7
    if tally.passed >= wanted:
        return "passed"
    return "failed" if planned - tally.failed < wanted else "inconclusive"


def _limit_for_last_run(state: SuiteState, budget: Decimal) -> Decimal:
    """The limit of a run that has the rest of the budget to itself."""
    return budget - state.spent - MAX_CALLS_PAST_LIMIT * (state.largest_call or Decimal(0))


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    found = set(outcomes)
    if "failed" in found:
        return "failed"
    return "inconclusive" if "inconclusive" in found else "passed"


def _require_open(state: SuiteState) -> None:
    if state.is_cancelled:
        raise CommandRejected("suite_ended", "The suite was cancelled and takes no more commands.")
