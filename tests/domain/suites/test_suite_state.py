"""The rules of a running suite: plan, budget, end and outcome."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rejections import CommandRejected
from domain.sessions.caller_config import CallerLimits
from domain.suites import suite_state as rules
from domain.suites.checks import Checks
from domain.suites.scenario import Scenario, Suite
from domain.suites.suite_state import Run, StartedRun, SuiteState, Tally
from domain.suites.verdicts import Outcome

outcomes = st.sampled_from(["passed", "failed", "inconclusive"])


def scenario(name: str, *, repeats: int | None = None, max_cost: str | None = None) -> Scenario:
    limits = CallerLimits(max_cost_usd=Decimal(max_cost) if max_cost else None)
    return Scenario(id=name, goal="Book a table.", repeats=repeats, limits=limits, checks=Checks(max_turns=9))


def suite_of(*scenarios: Scenario, budget: str | None = None, concurrency: int = 10, repeats: int = 1) -> Suite:
    return Suite(
        name="a suite",
        agent="booking-line",
        scenarios=scenarios,
        repeats=repeats,
        concurrency=concurrency,
        budget_usd=Decimal(budget) if budget else None,
    )


def start_all(state: SuiteState, suite: Suite, limit: Decimal | None) -> tuple[SuiteState, list[StartedRun]]:
    """Start every run that may start now."""
    plan, begun = rules.plan_of(suite), []
    while (started := rules.next_start(state, suite, plan, limit)) is not None:
        state = rules.record_start(state, started.run.session_id("sui_1"), started)
        begun.append(started)
    return state, begun


def finish(
    state: SuiteState, run: Run, outcome: Outcome = "passed", *, cost: str = "0", largest: str | None = None
) -> SuiteState:
    largest_call = Decimal(largest) if largest is not None else None
    return rules.record_outcome(state, run.session_id("sui_1"), outcome, cost=Decimal(cost), largest_call=largest_call)


# --- the plan -----------------------------------------------------------------------------------


def test_plan_shows_every_scenario_before_it_repeats_any() -> None:
    suite = suite_of(scenario("a"), scenario("b", repeats=1), scenario("c", repeats=3), repeats=2)
    assert [f"{run.scenario}{run.repeat}" for run in rules.plan_of(suite)] == ["a1", "b1", "c1", "a2", "c2", "c3"]


def test_run_has_the_same_session_however_often_it_is_started_and_no_other_run_has_it() -> None:
    runs = [Run(scenario=name, repeat=repeat) for name in ("a", "a1", "b") for repeat in (1, 2, 11)]
    ids = {run.session_id(suite) for run in runs for suite in ("sui_1", "sui_2")}
    assert len(ids) == 2 * len(runs)
    assert Run(scenario="a", repeat=1).session_id("sui_1") == runs[0].session_id("sui_1")


def test_no_more_runs_start_than_may_be_under_way_at_once() -> None:
    suite = suite_of(scenario("a", repeats=7), concurrency=3)
    state, begun = start_all(SuiteState(), suite, None)
    assert [started.run.repeat for started in begun] == [1, 2, 3]
    state, begun = start_all(finish(state, begun[1].run), suite, None)
    assert [started.run.repeat for started in begun] == [4]


def test_paused_suite_starts_nothing_until_it_is_resumed() -> None:
    suite = suite_of(scenario("a", repeats=2), concurrency=1)
    state, begun = start_all(SuiteState(), suite, None)
    state = finish(rules.pause(state), begun[0].run)
    assert start_all(state, suite, None)[1] == []
    assert not rules.is_over(state, suite, rules.plan_of(suite))
    assert len(start_all(rules.resume(state), suite, None)[1]) == 1


def test_a_cancelled_suite_is_over_when_its_running_runs_are() -> None:
    suite = suite_of(scenario("a", repeats=3), concurrency=1)
    plan = rules.plan_of(suite)
    state, begun = start_all(SuiteState(), suite, None)
    state = rules.cancel(state)
    assert rules.status_of(state, suite, plan) == "cancelled"
    assert not rules.is_over(state, suite, plan)
    state = finish(state, begun[0].run, "inconclusive")
    assert rules.is_over(state, suite, plan)
    assert start_all(state, suite, None)[1] == []
    for command in (rules.pause, rules.resume):
        with pytest.raises(CommandRejected) as refused:
            command(state)
        assert refused.value.rejection.code == "suite_ended"


def test_a_run_is_counted_once_however_often_its_end_is_reported() -> None:
    suite = suite_of(scenario("a"))
    state, begun = start_all(SuiteState(), suite, None)
    once = finish(state, begun[0].run, cost="0.5")
    assert finish(once, begun[0].run, "failed", cost="0.5") == once
    assert rules.progress_of(once, suite, rules.plan_of(suite)).cost == Decimal("0.5")


# --- the budget ---------------------------------------------------------------------------------


def test_run_may_cost_what_its_scenario_or_its_agent_allows_whichever_is_less() -> None:
    suite = suite_of(scenario("a"), budget="10")
    limited = scenario("b", max_cost="0.50")
    assert rules.cost_limit(suite, limited, None, 10) == Decimal("0.50")
    assert rules.cost_limit(suite, limited, Decimal("0.20"), 10) == Decimal("0.20")
    assert rules.cost_limit(suite, scenario("a"), Decimal("0.20"), 10) == Decimal("0.20")


def test_run_without_a_limit_gets_twice_its_share_of_the_budget() -> None:
    assert rules.cost_limit(suite_of(scenario("a"), budget="10"), scenario("a"), None, 100) == Decimal("0.2")
    assert rules.cost_limit(suite_of(scenario("a")), scenario("a"), None, 100) is None


def test_before_an_exchange_has_a_price_the_budget_reserves_several_whole_sessions() -> None:
    suite = suite_of(scenario("a", repeats=10), budget="10")
    state, begun = start_all(SuiteState(), suite, Decimal(1))
    assert [started.held for started in begun] == [3, 3, 3]
    state = finish(state, begun[0].run, cost="0.5", largest="0.1")
    _, begun = start_all(state, suite, Decimal(1))
    assert [started.held for started in begun] == [Decimal("1.2")] * 2


def test_run_that_does_not_fit_gets_what_is_left_once_it_is_alone() -> None:
    suite = suite_of(scenario("a", repeats=3), budget="2")
    state, begun = start_all(SuiteState(), suite, Decimal(5))
    assert begun == [StartedRun(run=begun[0].run, limit=Decimal(2), held=Decimal(2))]
    state, begun = start_all(finish(state, begun[0].run, cost="1.5", largest="0.1"), suite, Decimal(5))
    assert begun == [StartedRun(run=begun[0].run, limit=Decimal("0.3"), held=Decimal("0.5"))]


def test_a_suite_is_over_when_the_budget_cannot_pay_for_an_exchange_and_a_judge() -> None:
    suite = suite_of(scenario("a", repeats=3), budget="2")
    plan = rules.plan_of(suite)
    state, begun = start_all(SuiteState(), suite, Decimal(2))
    state = finish(state, begun[0].run, cost="1.97", largest="0.02")
    assert start_all(state, suite, Decimal(2))[1] == []
    assert rules.status_of(state, suite, plan) == "completed"
    assert rules.outcome_of(suite, state.tallies) == "inconclusive"


def test_the_judge_is_called_only_while_the_budget_has_room() -> None:
    suite = suite_of(scenario("a", repeats=2), budget="4")
    state, begun = start_all(SuiteState(largest_call=Decimal("0.25")), suite, Decimal("1.5"))
    first = begun[0].run.session_id("sui_1")
    assert [started.held for started in begun] == [2, 2]
    assert rules.may_judge(state, suite, first, Decimal("1.99"))
    assert not rules.may_judge(state, suite, first, Decimal(2))
    assert rules.may_judge(state, suite_of(scenario("a")), first, Decimal(1000))


@given(st.data())
def test_budget_is_kept_except_by_the_last_exchange_of_a_first_run(data: st.DataObject) -> None:
    """Holds for any cost of an exchange that stays the same and is within the limit of a session."""
    cents = st.integers(min_value=1, max_value=100).map(lambda cents: Decimal(cents) / 100)
    limit, budget, call = data.draw(cents), data.draw(cents) * 10, data.draw(cents)
    call = min(call, limit)
    suite = suite_of(scenario("a", repeats=40), concurrency=data.draw(st.integers(1, 8)), budget=f"{budget:f}")
    plan = rules.plan_of(suite)
    state, spent = SuiteState(), Decimal(0)
    while not rules.is_over(state, suite, plan):
        state, _ = start_all(state, suite, limit)
        assert len(state.under_way) <= suite.concurrency
        assert state.under_way, "nothing is under way, and nothing starts"
        session_id = data.draw(st.sampled_from(sorted(state.under_way)))
        allowed = state.under_way[session_id].limit
        assert allowed is not None
        cost = Decimal(0)
        while cost < allowed and data.draw(st.integers(0, 9)) > 0:
            cost += call
        if rules.may_judge(state, suite, session_id, cost):
            cost += call
        spent += cost
        state = rules.record_outcome(state, session_id, "passed", cost=cost, largest_call=call if cost else None)
    assert state.spent == spent
    assert spent <= budget or (state.started == 1 and spent < budget + call)


# --- the outcome --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tally", "planned", "rate", "outcome"),
    [
        (Tally(passed=3), 3, 1.0, "passed"),
        (Tally(passed=2, failed=1), 3, 1.0, "failed"),
        (Tally(passed=2, inconclusive=1), 3, 1.0, "inconclusive"),
        (Tally(passed=7, failed=3), 10, 0.7, "passed"),
        (Tally(passed=6, failed=4), 10, 0.7, "failed"),
        (Tally(passed=6, failed=3, inconclusive=1), 10, 0.7, "inconclusive"),
        (Tally(passed=6, failed=3), 10, 0.7, "inconclusive"),
        (Tally(failed=4), 10, 0.7, "failed"),
        (Tally(), 1, 0.0, "passed"),
    ],
)
def test_a_scenario_passes_by_its_rate_once_open_runs_cannot_change_it(
    tally: Tally, planned: int, rate: float, outcome: str
) -> None:
    assert rules.outcome_of_scenario(tally, planned, rate) == outcome


def test_one_failed_scenario_fails_the_suite_and_one_open_one_leaves_it_open() -> None:
    suite = suite_of(scenario("a"), scenario("b"))
    passed, failed, unknown = Tally(passed=1), Tally(failed=1), Tally(inconclusive=1)
    assert rules.outcome_of(suite, {"a": passed, "b": passed}) == "passed"
    assert rules.outcome_of(suite, {"a": unknown, "b": failed}) == "failed"
    assert rules.outcome_of(suite, {"a": passed, "b": unknown}) == "inconclusive"
    assert rules.outcome_of(suite, {"a": passed}) == "inconclusive"


@given(st.lists(outcomes, max_size=12), st.floats(0, 1))
def test_outcome_that_is_known_early_stays(found: list[Outcome], rate: float) -> None:
    tally, known = Tally(), None
    for outcome in found:
        tally = tally.model_copy(update={outcome: getattr(tally, outcome) + 1})
        now = rules.outcome_of_scenario(tally, 12, rate)
        assert known is None or now == known
        known = now if now != "inconclusive" else known
