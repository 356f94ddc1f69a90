"""One full example of every contract of simulated users and judges, without default values."""

from datetime import UTC, datetime
from decimal import Decimal

from contracts.caller import PlayCallerInput, PlayCallerResult
from contracts.judge import JudgeInput, JudgeResult
from contracts.sessions import AgentRef
from domain.agents.tool_mocks import ToolMock
from domain.durable import FrozenModel
from domain.sessions.caller_config import (
    CallerLimits,
    Persona,
    SetSimulator,
    SimulatorConfig,
    SimulatorState,
    Utterance,
)
from domain.usage import ModelUsage, Usage, rounded_cost
from tests.contracts.suite_examples import SUITE, VERDICT

CALLER = SimulatorConfig(
    persona=Persona(name="Anna Bell", manner="in a hurry", language="Italian"),
    goal="Book a table.",
    facts={"party size": 4, "date": "Friday", "smoker": False, "budget": 42.5},
    opening="Good evening!",
    min_turns=2,
    limits=CallerLimits(max_turns=9, max_cost_usd=Decimal("0.50"), seconds=600, max_stalled_turns=3),
    model="openai:gpt-5-mini",
    seed=7,
)
MOCK = ToolMock(tool="find_table", arguments={"guests": 4}, result={"table": 12}, error="full")
SIMULATION = SimulatorState(
    enabled=False,
    config=CALLER,
    since=datetime(2026, 1, 1, tzinfo=UTC),
    at_turn_id="t1",
    at_cursor=True,
    lines=3,
    stalled=1,
    recent_exchanges=("0123456789ab",),
    says_goodbye=True,
    stopped="caller_stalled",
)
USAGE = Usage(llm={"openai:gpt-5-mini": ModelUsage(prompt_tokens=9, total_tokens=9, requests=1)}, duration_seconds=0.5)
COST = rounded_cost("openai:gpt-5-mini", Decimal("0.001"))


def simulator_records(agent: AgentRef) -> tuple[FrozenModel, ...]:
    """The examples, with this agent under test."""
    return (
        SetSimulator(enabled=True, config=CALLER, expected_revision=4),
        PlayCallerInput(
            session_id="ses_1",
            organization_id="org_1",
            call_id="turn_a",
            previous_call_id="turn_b",
            config=CALLER,
            model="openai:gpt-5-mini",
            lines=3,
            new_utterances=(Utterance(by="caller", text="Four."), Utterance(by="agent", text="On what day?")),
            timeout=30.0,
            price_per_second=Decimal("0.0001"),
        ),
        PlayCallerResult(line="On Friday.", hangs_up=True, reason="all is said", usage=USAGE, cost=COST, reused=True),
        JudgeInput(
            session_id="ses_1",
            organization_id="org_1",
            judgement_id="judge_1",
            agent=agent,
            suite_id="sui_1",
            scenario=SUITE.scenarios[0],
            model="openai:gpt-5-mini",
            seed=7,
            timeout=30.0,
            cut_short="The budget was spent.",
            price_per_second=Decimal("0.0001"),
        ),
        JudgeResult(verdict=VERDICT, usage=USAGE, cost=COST, reused=True),
    )
