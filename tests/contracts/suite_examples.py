"""One full example of every suite contract, without default values where others are possible."""

from datetime import UTC, datetime
from decimal import Decimal

from contracts.sessions import AgentRef, Timing
from contracts.suites import (
    AwaitSessionsInput,
    AwaitSessionsResult,
    BeginRunInput,
    BeginRunResult,
    NoteSuiteInput,
    PinnedAgent,
    PriceRunInput,
    RecordRunInput,
    RunPrice,
    StartSuite,
    SuiteResult,
)
from domain.agents.definition import AgentDefinition
from domain.agents.tool_mocks import ToolMock
from domain.durable import FrozenModel
from domain.sessions.caller_config import CallerLimits, Persona
from domain.sessions.timeline import Timeline
from domain.suites.checks import Checks, Finding, RequiredCall
from domain.suites.scenario import RecordedStart, Scenario, Suite
from domain.suites.suite_state import Run, StartedRun, SuiteProgress, SuiteState, Tally
from domain.suites.verdicts import CriterionVerdict, Verdict

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
RUN = Run(scenario="anna", repeat=2)
SESSION = "ses_0123456789abcdef01234567"
SUITE = Suite(
    name="evenings",
    agent="booking-line@3",
    model="openai:gpt-5-mini",
    caller_model="openai:gpt-5-nano",
    judge_model="openai:gpt-5",
    concurrency=4,
    budget_usd=Decimal("5.00"),
    repeats=3,
    seed=7,
    min_pass_rate=0.9,
    scenarios=(
        Scenario(
            id="anna",
            persona=Persona(name="Anna", manner="hurried", language="Italian"),
            goal="Book a table for four.",
            facts={"guests": 4},
            opening="Good evening.",
            context={"first_name": "Anna"},
            success=("The agent booked a table for four.",),
            checks=Checks(must_visit=("booking",), must_call=(RequiredCall(tool="find_table"),), max_turns=9),
            mocks=(ToolMock(tool="find_table", arguments={"guests": 4}, result={"table": 7}),),
            repeats=2,
            tags=("smoke",),
            min_turns=2,
            limits=CallerLimits(max_turns=12, max_cost_usd=Decimal("0.10"), seconds=600),
        ),
    ),
)
VERDICT = Verdict(
    outcome="failed",
    criteria=(
        CriterionVerdict(
            criterion="The agent booked a table for four.",
            outcome="failed",
            reason="It booked one for five, in turn_2.",
            turn_ids=("turn_2",),
        ),
    ),
    findings=(Finding(check="max_turns", message="It took 10 turns.", turn_ids=("turn_9",), could_mend=True),),
    cut_short="max_cost",
)
STATE = SuiteState(
    started=2,
    under_way={SESSION: StartedRun(run=RUN, limit=Decimal("0.10"), held=Decimal("0.12"))},
    tallies={"anna": Tally(passed=3, failed=1, inconclusive=2)},
    spent=Decimal("0.08"),
    largest_call=Decimal("0.01"),
    is_paused=True,
    is_cancelled=True,
)


def suite_records(agent: AgentRef, definition: AgentDefinition) -> tuple[FrozenModel, ...]:
    """The examples, with an agent and its definition. The same at every call."""
    return (
        PinnedAgent(ref=agent, number=1, name=definition.name, definition=definition),
        StartSuite(
            suite_id="sui_1",
            organization_id="org_1",
            suite=SUITE,
            agent=PinnedAgent(ref=agent, number=1, name=definition.name, definition=definition),
            model="openai:gpt-5-mini",
            timing=Timing(heartbeat=5),
            price_per_second=Decimal("0.001"),
            state=STATE,
        ),
        SuiteResult(status="completed", outcome="failed", passed=3, failed=1, inconclusive=2),
        BeginRunInput(
            suite_id="sui_1",
            run=RUN,
            session_id=SESSION,
            organization_id="org_1",
            agent=agent,
            agent_number=1,
            agent_name=definition.name,
            name="anna 2",
            model="openai:gpt-5-mini",
            initial_context={"first_name": "Anna"},
            simulator={"enabled": True},
            history=RecordedStart(session="ses_7", turn="turn_3"),
            at=AT,
        ),
        BeginRunResult(timeline=Timeline(created_at=AT, updated_at=AT), initial_context={"first_name": "Anna"}),
        PriceRunInput(session_id=SESSION, organization_id="org_1"),
        RunPrice(cost=Decimal("0.08"), largest_call=Decimal("0.01")),
        RecordRunInput(
            suite_id="sui_1",
            run=RUN,
            session_id=SESSION,
            organization_id="org_1",
            verdict=VERDICT,
            error="The judge refused.",
            at=AT,
        ),
        NoteSuiteInput(suite_id="sui_1", status="completed", outcome="failed", at=AT),
        AwaitSessionsInput(session_ids=(SESSION,), seconds=30.0),
        AwaitSessionsResult(closed=(SESSION,)),
        SuiteProgress(status="paused", planned=9, running=1, passed=3, failed=1, inconclusive=2, cost=Decimal("0.08")),
    )
