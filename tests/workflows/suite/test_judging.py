"""Judging: one model call on the stored session, billed outside the turns, and inconclusive in doubt."""

import json
from collections.abc import Callable

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from contracts.judge import JudgeInput, JudgeResult
from domain.suites.checks import Checks
from domain.suites.scenario import Scenario
from tests.support.activities import session_activities
from tests.support.agents import GREETING
from tests.support.provider import ErrorReply, Reply, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import ORGANIZATION, SessionHandle, SessionStack

Scripted = Callable[..., ScriptedModel]

POLITE = Scenario(id="polite", goal="Ask when it opens.", success=("The agent was polite.", "It told the hours."))


def records(*outcomes: str, turn_id: str = "") -> ToolCallReply:
    """A judge's answer, criterion by criterion."""
    verdicts = [
        {"criterion": number, "outcome": outcome, "reason": f"As {turn_id} shows.", "turn_ids": []}
        for number, outcome in enumerate(outcomes, start=1)
    ]
    return ToolCallReply("record_verdict", json.dumps({"verdicts": verdicts}))


async def talked(stack: SessionStack, scripted: Scripted) -> SessionHandle:
    """A session in which something was said, ended and recorded."""
    agent = scripted(TextReply("At nine, madam."))
    session = await stack.open(model=agent.string)
    await session.say("When do you open?")
    await session.end()
    await session.handle.result()
    return session


async def judged(
    session: SessionHandle, model: ScriptedModel | str, scenario: Scenario = POLITE, **fields: object
) -> JudgeResult:
    """The verdict on a session, as the activity of a worker gives it."""
    [judge] = [each for each in session_activities(session.stack.database) if each.__name__ == "judge_session"]
    asked = JudgeInput(
        session_id=session.id,
        organization_id=ORGANIZATION,
        judgement_id=f"judge_{session.id.removeprefix('ses_')}",
        agent=session.start.agent,
        suite_id=None,
        scenario=scenario,
        model=model if isinstance(model, str) else model.string,
    ).model_copy(update=fields)
    result = await ActivityEnvironment().run(judge, asked)
    assert isinstance(result, JudgeResult)
    return result


async def test_a_judge_sees_the_criteria_and_the_transcript(stack: SessionStack, scripted: Scripted) -> None:
    session = await talked(stack, scripted)
    turn_id = (await session.status()).head_turn_id
    judge = scripted(records("passed", "passed", turn_id=turn_id or ""))
    result = await judged(session, judge)
    assert [each.outcome for each in result.verdict.criteria] == ["passed", "passed"]
    assert [each.turn_ids for each in result.verdict.criteria] == [(turn_id,), (turn_id,)]
    [asked] = judge.journal
    assert "1. The agent was polite.\n2. It told the hours." in asked.instructions
    [(role, transcript)] = asked.conversation
    assert role == "user"
    assert f'agent: "{GREETING}"' in transcript
    assert f'[{turn_id}] caller: "When do you open?"\n[{turn_id}] agent: "At nine, madam."' in transcript
    assert transcript.endswith("The conversation ended: user_hangup.")


async def test_a_judgement_is_made_and_billed_once(stack: SessionStack, scripted: Scripted) -> None:
    session = await talked(stack, scripted)
    judge = scripted(records("passed", "failed"), records("passed", "passed"))
    first, again = await judged(session, judge), await judged(session, judge)
    assert (first.reused, again.reused) == (False, True)
    assert first.verdict == again.verdict
    assert first.verdict.outcome == "failed"
    assert len(judge.journal) == 1
    [row] = [row for row in await stack.ledger(session) if row.purpose == "judge"]
    assert (row.turn_id, row.usage.requests, row.agent_id) == (f"judge_{session.id[4:]}", 1, session.start.agent.id)


async def test_a_failed_check_fails_a_run_and_a_passed_check_does_not_rescue_it(
    stack: SessionStack, scripted: Scripted
) -> None:
    session = await talked(stack, scripted)
    rude = POLITE.model_copy(update={"checks": Checks(never_says=("madam",))})
    judge = scripted(records("passed", "passed"))
    vetoed = (await judged(session, judge, rude)).verdict
    assert (vetoed.outcome, [finding.check for finding in vetoed.findings]) == ("failed", ["never_says"])
    kind = POLITE.model_copy(update={"checks": Checks(ended_with=("user_hangup",))})
    severe = scripted(records("passed", "failed"))
    assert (await judged(session, severe, kind, judgement_id="judge_2")).verdict.outcome == "failed"


async def test_checks_alone_call_no_model(stack: SessionStack, scripted: Scripted) -> None:
    session = await talked(stack, scripted)
    judge = scripted()
    checked = POLITE.model_copy(update={"success": (), "checks": Checks(must_visit=("desk",), max_turns=1)})
    result = await judged(session, judge, checked)
    assert (result.verdict.outcome, result.usage.requests, judge.journal) == ("passed", 0, [])


@pytest.mark.parametrize(
    "answer",
    [
        ErrorReply(400),
        ToolCallReply("record_verdict", '{"verdicts": ['),
        ToolCallReply("record_verdict", '{"opinion": "fine"}'),
    ],
    ids=["refused", "half a call", "another form"],
)
async def test_an_unusable_reply_of_the_judge_is_inconclusive(
    stack: SessionStack, scripted: Scripted, answer: Reply
) -> None:
    session = await talked(stack, scripted)
    verdict = (await judged(session, scripted(answer))).verdict
    assert verdict.outcome == "inconclusive"
    assert [each.outcome for each in verdict.criteria] == ["inconclusive", "inconclusive"]


async def test_a_conversation_that_was_cut_short_is_inconclusive(stack: SessionStack, scripted: Scripted) -> None:
    session = await talked(stack, scripted)
    verdict = (await judged(session, scripted(records("failed", "failed")), cut_short="The budget was spent.")).verdict
    assert (verdict.outcome, verdict.cut_short) == ("inconclusive", "The budget was spent.")


async def test_a_session_that_is_not_recorded_cannot_be_judged(stack: SessionStack) -> None:
    session = await stack.prepare()
    with pytest.raises(ApplicationError) as failed:
        await judged(session, "demo")
    assert (failed.value.type, failed.value.non_retryable) == ("not_found", True)


async def test_the_demo_model_judges(stack: SessionStack, scripted: Scripted) -> None:
    session = await talked(stack, scripted)
    hours = POLITE.model_copy(update={"success": ("The agent said at nine.", "The agent offered champagne.")})
    verdict = (await judged(session, "demo", hours)).verdict
    assert [each.outcome for each in verdict.criteria] == ["passed", "failed"]
