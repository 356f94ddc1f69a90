"""State of a running suite: the next run to start, budget reservations, progress and outcome.

A run starts only if its maximum cost fits into the rest of the budget, which is then reserved. The maximum cost is the
limit of its session, plus the exchange that crosses the limit (limits are checked between a reply and the next message,
and the price of a call is known only afterwards), plus the judge. The last two are estimated by the most expensive call
so far. A run that does not fit waits until other runs have been judged and release what they did not use. If no other
run is in progress, it gets the rest of the budget.
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
"""A run without a cost limit may use this many times an equal share of the budget."""
MAX_CALLS_PAST_LIMIT = 2
"""Calls that a run may make beyond the limit of its session: the exchange that crosses it, and the judge."""


class Run(FrozenModel):
    """One conversation of a suite: a scenario and the number of the repeat, from 1."""

    scenario: str
    repeat: int

    def session_id(self, suite_id: str) -> str:
        """Id of the session of the run, deterministic, so that a repeated start finds the session."""
        digest = sha256(f"{suite_id}\n{self.scenario}\n{self.repeat}".encode()).hexdigest()
        return f"ses_{digest[:24]}"


class StartedRun(FrozenModel):
    """A run that may start. `limit` is its session's cost limit; `held` is reserved until the run is judged."""

    run: Run
    limit: Money | None = None
    held: Money = Decimal(0)


class Tally(FrozenModel):
    """Outcomes of the runs of one scenario so far."""

    passed: int = 0
    failed: int = 0
    inconclusive: int = 0

    @property
    def runs(self) -> int:
        return self.passed + self.failed + self.inconclusive


class SuiteState(FrozenModel):
    """State of a suite, carried through continue-as-new.

    `started` counts the runs taken from the plan, `under_way` are runs without a verdict, by session id.
    `largest_call` is the cost of the most expensive exchange or judge call so far.
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
        """The part of the budget reserved for runs in progress."""
        return sum((started.held for started in self.under_way.values()), start=Decimal(0))


class SuiteProgress(FrozenModel):
    """Progress of a suite. `cost` is that of the judged runs."""

    status: SuiteStatus
    planned: int
    running: int
    passed: int
    failed: int
    inconclusive: int
    cost: Money


def plan_of(suite: Suite) -> tuple[Run, ...]:
    """All runs in the order of their start: the first repeat of every scenario, then the second, and so on."""
    repeats = {scenario.id: suite.repeats_of(scenario) for scenario in suite.scenarios}
    rounds = range(1, max(repeats.values()) + 1)
    return tuple(Run(scenario=name, repeat=number) for number in rounds for name in repeats if number <= repeats[name])


def cost_limit(suite: Suite, scenario: Scenario, agent_limit: Decimal | None, planned: int) -> Decimal | None:
    """Cost limit of the session of a run: the lowest configured limit, or else a share of the budget."""
    limits = [limit for limit in (scenario.limits.max_cost_usd, agent_limit) if limit is not None]
    if limits:
        return min(limits)
    return None if suite.budget_usd is None else suite.budget_usd * MAX_BUDGET_SHARES_PER_RUN / planned


def next_start(state: SuiteState, suite: Suite, plan: tuple[Run, ...], limit: Decimal | None) -> StartedRun | None:
    """The next run of the plan, if it may start now; `limit` is its `cost_limit`."""
    is_free = not state.is_paused and not state.is_cancelled and len(state.under_way) < suite.concurrency
    if not is_free or state.started >= len(plan):
        return None
    run = plan[state.started]
    if suite.budget_usd is None or limit is None:
        return StartedRun(run=run, limit=limit)
    remaining = suite.budget_usd - state.spent - state.held
    # Before the first cost is known, an exchange is assumed to cost as much as a whole session may.
    largest_call = limit if state.largest_call is None else state.largest_call
    max_cost = limit + MAX_CALLS_PAST_LIMIT * largest_call
    if max_cost <= remaining:
        return StartedRun(run=run, limit=limit, held=max_cost)
    if not state.under_way and not is_exhausted(state, suite):
        return StartedRun(run=run, limit=min(limit, _limit_for_last_run(state, suite.budget_usd)), held=remaining)
    return None


def record_start(state: SuiteState, session_id: str, started: StartedRun) -> SuiteState:
    """Record that the next run of the plan has started."""
    under_way = {**state.under_way, session_id: started}
    return state.model_copy(update={"started": state.started + 1, "under_way": under_way})


def may_judge(state: SuiteState, suite: Suite, session_id: str, cost: Decimal) -> bool:
    """True if the budget allows a judge call for a session with this cost."""
    if suite.budget_usd is None:
        return True
    others = state.held - state.under_way[session_id].held
    return state.spent + others + cost < suite.budget_usd


def record_outcome(
    state: SuiteState, session_id: str, outcome: Outcome, *, cost: Decimal, largest_call: Decimal | None
) -> SuiteState:
    """Record the outcome of a run, and release its reservation. A repeat changes nothing."""
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
    """Start no more runs until `resume`; runs in progress continue.

    Raises CommandRejected("suite_ended") once cancelled.
    """
    _require_open(state)
    return state.model_copy(update={"is_paused": True})


def resume(state: SuiteState) -> SuiteState:
    """Start runs again. Raises CommandRejected("suite_ended") once cancelled."""
    _require_open(state)
    return state.model_copy(update={"is_paused": False})


def cancel(state: SuiteState) -> SuiteState:
    """Start no more runs. Cancelling again changes nothing."""
    return state.model_copy(update={"is_cancelled": True, "is_paused": False})


def is_over(state: SuiteState, suite: Suite, plan: tuple[Run, ...]) -> bool:
    """True if no run is in progress, and no further one will start."""
    if state.under_way:
        return False
    return state.is_cancelled or state.started >= len(plan) or is_exhausted(state, suite)


def is_exhausted(state: SuiteState, suite: Suite) -> bool:
    """True if the rest of the budget does not suffice for an exchange and a judge call."""
    return suite.budget_usd is not None and _limit_for_last_run(state, suite.budget_usd) <= 0


def status_of(state: SuiteState, suite: Suite, plan: tuple[Run, ...]) -> SuiteStatus:
    """Status of the suite."""
    if state.is_cancelled:
        return "cancelled"
    if is_over(state, suite, plan):
        return "completed"
    return "paused" if state.is_paused else "running"


def progress_of(state: SuiteState, suite: Suite, plan: tuple[Run, ...]) -> SuiteProgress:
    """Progress of the suite."""
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
    """Outcome of the suite: failed if one scenario failed, passed if all passed, otherwise inconclusive."""
    found = {
        outcome_of_scenario(tallies.get(scenario.id, Tally()), suite.repeats_of(scenario), suite.min_pass_rate)
        for scenario in suite.scenarios
    }
    return _worst(found)


def outcome_of_scenario(tally: Tally, planned: int, min_pass_rate: float) -> Outcome:
    """Passed if enough of the planned runs passed, failed if enough can no longer pass, otherwise inconclusive.

    Inconclusive runs, and runs that did not start, count as undecided.
    """
    required = Decimal(str(min_pass_rate)) * planned  # exact decimals: 0.7 of 10 is 7
    if tally.passed >= required:
        return "passed"
    return "failed" if planned - tally.failed < required else "inconclusive"


def _limit_for_last_run(state: SuiteState, budget: Decimal) -> Decimal:
    """Cost limit of a run that gets the rest of the budget."""
    return budget - state.spent - MAX_CALLS_PAST_LIMIT * (state.largest_call or Decimal(0))


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    found = set(outcomes)
    if "failed" in found:
        return "failed"
    return "inconclusive" if "inconclusive" in found else "passed"


def _require_open(state: SuiteState) -> None:
    if state.is_cancelled:
        raise CommandRejected("suite_ended", "The suite was cancelled and accepts no more commands.")
