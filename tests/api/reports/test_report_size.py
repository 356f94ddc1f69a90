"""The size of suite reports: failed runs and their conversations first, and no more than eight mebibytes of them."""

from datetime import timedelta

from contracts.sessions import AgentRef
from contracts.suites import BeginRunInput, RecordRunInput
from domain.suites.scenario import parse_suite
from domain.suites.suite_state import Run
from domain.suites.verdicts import CriterionVerdict, Outcome, Verdict
from domain.turns.turn import AssistantMessage
from store.agents import AgentStore
from store.database.connection import Database
from store.sessions.settlement import SettlementStore
from store.suites import NewSuite, SuiteStore
from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi, done
from tests.support.stored_conversations import START, settling, turn

MEBIBYTE = 1024 * 1024
WORDS = "w" * 200_000
RUNS = 60


async def suite_with_runs(database: Database, organization: str, *, reason: str = "", words: str = WORDS) -> str:
    """A suite whose runs passed but for one in ten; each conversation has two long replies."""
    agent = await AgentStore(database).find(organization, "library")
    assert agent is not None
    suite = parse_suite(
        {
            "name": "long",
            "agent": "library",
            "repeats": RUNS,
            "scenarios": [{"id": "a", "goal": "Talk.", "success": ["Talks."]}],
        }
    )
    store, settlement = SuiteStore(database), SettlementStore(database)
    suite_id = f"sui_{organization}"
    await store.create(
        NewSuite(
            id=suite_id,
            organization_id=organization,
            agent_id=agent.id,
            agent_version=agent.version,
            agent_name=agent.name,
            suite=suite,
            planned=RUNS,
            created_at=START,
        )
    )
    for repeat in range(1, RUNS + 1):
        run = Run(scenario="a", repeat=repeat)
        session_id = run.session_id(suite_id)
        await store.begin_run(
            BeginRunInput(
                suite_id=suite_id,
                run=run,
                session_id=session_id,
                organization_id=organization,
                agent=AgentRef(id=agent.id, version=agent.version),
                agent_number=agent.number,
                agent_name=agent.name,
                name=f"a {repeat}",
                model="demo",
                initial_context={},
                simulator={"enabled": True},
                at=START + timedelta(seconds=repeat),
            )
        )
        turns = [turn(f"turn_{index}", index, parent=f"turn_{index - 1}" if index else None) for index in range(2)]
        said = [AssistantMessage(text=words, created_at=each.created_at) for each in turns]
        turns = [each.model_copy(update={"assistant_message": text}) for each, text in zip(turns, said, strict=True)]
        settled = settling(*turns, session_id=session_id)
        agent_ref = AgentRef(id=agent.id, version=agent.version)
        await settlement.settle(settled.model_copy(update={"organization_id": organization, "agent": agent_ref}))
        outcome: Outcome = "passed" if repeat % 10 else "failed"
        criteria = (CriterionVerdict(criterion="Talks.", outcome=outcome, reason=reason, turn_ids=()),)
        await store.record_run(
            RecordRunInput(
                suite_id=suite_id,
                run=run,
                session_id=session_id,
                organization_id=organization,
                verdict=Verdict(outcome=outcome, criteria=criteria),
                at=START + timedelta(minutes=5),
            )
        )
    return suite_id


async def test_a_large_report_has_the_failed_conversations_and_as_many_others_as_fit(
    running_api: RunningApi, caller: Caller
) -> None:
    await caller.push(library())
    suite_id = await suite_with_runs(running_api.database, caller.organization)
    path = f"/v1/suites/{suite_id}/report"
    response = await caller.get(path)
    report = done(response, 200)
    assert len(response.content) < 8.1 * MEBIBYTE
    shown = {run["repeat"] for run in report["runs"] if run["turns"]}
    assert {repeat for repeat in range(1, RUNS + 1) if repeat % 10 == 0} <= shown
    assert len(shown) == 8 * MEBIBYTE // (2 * len(WORDS) + 2_000)
    assert report["conversations_left_out"] == RUNS - len(shown)
    assert report["runs_left_out"] == 0
    assert [run["repeat"] for run in report["runs"]] == list(range(1, RUNS + 1))
    assert {run["turns_before"] for run in report["runs"]} == {0, 2}
    plain = done(await caller.get(path, transcripts=False), 200)
    assert plain["conversations_left_out"] == 0
    assert len((await caller.get(path, format="html")).content) < 10 * MEBIBYTE
    assert f"no room for {RUNS - len(shown)} conversations" in (await caller.get(path, format="html")).text
    assert len((await caller.get(path, format="junit")).content) < 10 * MEBIBYTE


async def test_a_report_of_more_runs_than_fit_has_the_failed_ones(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    database, organization = running_api.database, caller.organization
    suite_id = await suite_with_runs(database, organization, reason="r" * 300_000, words="Hello.")
    response = await caller.get(f"/v1/suites/{suite_id}/report")
    report = done(response, 200)
    assert len(response.content) < 8.5 * MEBIBYTE
    repeats = [run["repeat"] for run in report["runs"]]
    assert {repeat for repeat in range(1, RUNS + 1) if repeat % 10 == 0} <= set(repeats)
    assert report["runs_left_out"] == RUNS - len(repeats) > 0
    assert report["suite"]["progress"]["passed"] == RUNS * 9 // 10
