"""Report data of any size: scenarios with repeats, verdicts, turns and an earlier suite."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from api.schemas.responses import TemporalLink, Turn
from api.schemas.suites import (
    BaselineReport,
    Bounds,
    Criterion,
    Finding,
    Progress,
    RunReport,
    ScenarioChange,
    ScenarioProgress,
    Spent,
    Suite,
    SuiteReport,
)
from domain.suites.statistics import Change
from domain.suites.suite_state import Run, Tally, outcome_of_scenario
from domain.suites.verdicts import Outcome
from domain.turns.turn import AssistantMessage, TurnEvent, UserMessage
from domain.turns.turn import Turn as DomainTurn
from domain.usage import Usage, rounded_cost

AT = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
CRITERION = "The agent confirmed a table for the right number of guests."
SUITE_ID = "sui_7d1f0b2c9e55"
MODEL = "openai:gpt-5-mini"
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "inconclusive")


def turns(count: int, *, at: datetime = AT, said: str = "A table for four on Friday, please.") -> tuple[Turn, ...]:
    """A conversation: a greeting and `count` exchanges."""
    made = []
    for index in range(count + 1):
        begun = at + timedelta(seconds=index * 3)
        message = UserMessage(text=f"{said} ({index})", created_at=begun, message_id=f"m{index}")
        events = [
            TurnEvent(
                type="node_transition",
                created_at=begun,
                payload={"from_node": "greet" if index else None, "to_node": "booking" if index else "greet"},
            )
        ]
        made.append(
            DomainTurn(
                id=f"turn_{index:012d}",
                parent_id=f"turn_{index - 1:012d}" if index else None,
                index=index,
                status="completed",
                created_at=begun,
                user_message=message if index else None,
                assistant_message=AssistantMessage(text=f"Of course, that is noted. ({index})", created_at=begun),
                events=tuple(events),
                usage=Usage(duration_seconds=0.4 + 0.17 * (index % 7)),
                cost=rounded_cost(MODEL, Decimal("0.00021")),
                node_id="booking" if index else "greet",
            )
        )
    return tuple(Turn.model_validate(turn) for turn in made)


def run(
    scenario: str = "four-on-friday", repeat: int = 1, outcome: Outcome | None = "passed", *, exchanges: int = 4
) -> RunReport:
    """One conversation; one that failed has a reason that quotes its second turn, and a check that did not hold."""
    talk = turns(exchanges)
    quoted = (talk[min(2, exchanges)].id,)
    failed = outcome == "failed"
    reason = f"In {quoted[0]} the agent spoke of {'five' if failed else 'four'} guests."
    return RunReport(
        scenario=scenario,
        repeat=repeat,
        seed=1_804_289_383 + repeat,
        session_id=Run(scenario=scenario, repeat=repeat).session_id(SUITE_ID),
        outcome=outcome,
        criteria=(
            Criterion(
                criterion=CRITERION, outcome=outcome or "inconclusive", reason=reason, turn_ids=quoted, quotes=()
            ),
        ),
        findings=(
            (Finding(check="must_visit payment", message="The conversation never reached payment.", turn_ids=quoted),)
            if failed
            else ()
        ),
        cut_short="max_cost" if outcome == "inconclusive" else None,
        error=None,
        completion_reason="caller_hung_up",
        turn_count=len(talk),
        cost=Decimal("0.00021") * len(talk),
        unpriced_models=(),
        started_at=AT + timedelta(seconds=repeat),
        seconds=2.5 + exchanges * 0.8 if outcome else None,
        turns_before=0,
        turns=talk,
    )


def report_of(runs: Sequence[RunReport], *, name: str = "booking-evenings", with_baseline: bool = False) -> SuiteReport:
    """The report of a suite that made these runs."""
    ids = list(dict.fromkeys(each.scenario for each in runs))
    scenarios = tuple(_scenario(scenario, runs) for scenario in ids)
    outcome: Outcome = "failed" if any(each.outcome == "failed" for each in scenarios) else "passed"
    counts = {name: sum(each.outcome == name for each in runs) for name in OUTCOMES}
    suite = Suite(
        id=SUITE_ID,
        name=name,
        agent_id="agt_1",
        agent_version=3,
        agent_name="booking-line",
        status="completed",
        outcome=outcome,
        planned=len(runs),
        seed=7,
        concurrency=10,
        budget_usd=Decimal("1.50"),
        min_pass_rate=0.9,
        created_at=AT,
        updated_at=AT + timedelta(minutes=2),
        temporal=TemporalLink(workflow_id="suite-sui_7d1f0b2c9e55", run_id=None, ui_url="http://127.0.0.1:8233/x"),
        progress=Progress(
            planned=len(runs),
            running=0,
            turns=sum(each.turn_count for each in runs),
            cost=Spent(total=sum((each.cost for each in runs), start=Decimal(0))),
            held=Decimal(0),
            **counts,
        ),
        scenarios=scenarios,
    )
    return SuiteReport(suite=suite, runs=tuple(runs), baseline=_baseline(ids) if with_baseline else None)


def _scenario(scenario: str, runs: Sequence[RunReport]) -> ScenarioProgress:
    found = [each.outcome for each in runs if each.scenario == scenario]
    tally = Tally(**{name: found.count(name) for name in OUTCOMES})
    decided = tally.passed + tally.failed
    return ScenarioProgress(
        id=scenario,
        tags=("smoke",),
        planned=len(found),
        passed=tally.passed,
        failed=tally.failed,
        inconclusive=tally.inconclusive,
        pass_rate=tally.passed / decided if decided else None,
        outcome=outcome_of_scenario(tally, len(found), 0.9),
    )


def _baseline(ids: Sequence[str]) -> BaselineReport:
    changes: tuple[tuple[Change, float, float, float], ...] = (
        ("worse", -0.45, -0.7, -0.12),
        ("same", 0.0, -0.2, 0.2),
        ("better", 0.5, 0.2, 0.75),
    )
    compared = [
        ScenarioChange(
            scenario=scenario,
            change=changes[at % 3][0],
            rate_before=0.5,
            rate_now=0.5 + changes[at % 3][1],
            difference=changes[at % 3][1],
            interval=Bounds(low=changes[at % 3][2], high=changes[at % 3][3]),
        )
        for at, scenario in enumerate(ids)
    ]
    return BaselineReport(
        suite_id="sui_0000aaaa1111",
        suite_name="booking-evenings",
        overall=compared[0].model_copy(update={"scenario": "all"}),
        scenarios=tuple(compared),
    )
