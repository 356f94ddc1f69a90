"""The example suites, offline: the demo model as simulated user, agent and judge, with reproducible verdicts."""

import pytest

from activities.llm.interface import RecordCall
from domain.suites.checks import Conversation, run_checks
from domain.suites.compatibility import compatibility_issues
from domain.suites.judge_prompt import judge_instructions, judge_transcript
from domain.suites.scenario import Scenario
from domain.suites.verdicts import VERDICT_TOOL, Outcome, Verdict, parse_verdicts, verdict_of, verdict_schema
from playhead.services.model_providers import build_providers
from tests.support.simulated_call import SimulatedCall, example_agent, example_suite, exchange_text

SUITES = ("booking-line", "lead-qualification", "support-desk", "meant-to-fail")
INTENDED: dict[str, Outcome] = {"fails-a-check": "failed", "fails-a-criterion": "failed"}
RUNS = [
    pytest.param(suite, scenario.id, repeat, id=f"{scenario.id}-{repeat}")
    for suite in SUITES
    for scenario in example_suite(suite).scenarios
    for repeat in range(1, 6)
]


async def judged(scenario: Scenario, conversation: Conversation) -> Verdict:
    answer = await build_providers(prices={}).record(
        RecordCall(
            model="demo",
            instructions=judge_instructions(scenario),
            history=(),
            asked=judge_transcript(conversation, 100_000),
            tool=VERDICT_TOOL,
            description="Record the verdict.",
            schema=verdict_schema(scenario.success),
            timeout=5.0,
        )
    )
    [recorded] = answer.reply.tool_calls
    criteria = parse_verdicts(scenario.success, recorded.arguments, conversation.turns)
    return verdict_of(criteria, run_checks(scenario.checks, conversation))


def call_of(suite_name: str, scenario_id: str, repeat: int) -> SimulatedCall:
    suite = example_suite(suite_name)
    scenario = next(each for each in suite.scenarios if each.id == scenario_id)
    return SimulatedCall(example_agent(suite.agent), scenario, seed=suite.seed_of(scenario_id, repeat))


@pytest.mark.parametrize("suite_name", SUITES)
def test_every_example_suite_is_compatible_with_its_agent(suite_name: str) -> None:
    suite = example_suite(suite_name)
    assert compatibility_issues(suite, example_agent(suite.agent)) == ()


@pytest.mark.parametrize(("suite_name", "scenario_id", "repeat"), RUNS)
async def test_every_scenario_gets_its_intended_verdict(suite_name: str, scenario_id: str, repeat: int) -> None:
    call = call_of(suite_name, scenario_id, repeat)
    conversation = await call.conversation()
    verdict = await judged(call.scenario, conversation)
    transcript = "\n".join(map(exchange_text, conversation.turns))
    assert verdict.outcome == INTENDED.get(scenario_id, "passed"), f"{verdict.model_dump_json(indent=1)}\n{transcript}"
    assert all(each.turn_ids for each in verdict.criteria), "every verdict quotes a turn"


async def test_equal_seeds_give_equal_conversations_and_other_seeds_do_not() -> None:
    transcripts = []
    for repeat in (1, 1, 2):
        conversation = await call_of("booking-line", "books-a-table", repeat).conversation()
        transcripts.append([exchange_text(turn) for turn in conversation.turns])
    first, again, other = transcripts
    assert first == again
    assert first != other
