"""Suites and their runs: idempotent writes, progress and cost."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from contracts.sessions import AgentRef
from contracts.suites import BeginRunInput, NoteSuiteInput, RecordRunInput
from domain.suites.scenario import Suite
from domain.suites.suite_state import Run, SuiteStatus, Tally, plan_of
from domain.suites.verdicts import CriterionVerdict, Outcome, Verdict
from store.agents import StoredAgent
from store.billing.ledger import LedgerStore
from store.database.connection import Database
from store.sessions.erasure import ErasureStore
from store.sessions.sessions import SessionStore
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from store.suites import NewSuite, StoredSuite, SuiteStore
from tests.contracts.suite_examples import SUITE
from tests.support.stored_conversations import ORGANIZATION, START, agent_in, conversation, reply, save_step, settling

ANNA = Run(scenario="anna", repeat=1)


@pytest.fixture
async def agent(database: Database) -> StoredAgent:
    return await agent_in(database)


@pytest.fixture
def store(database: Database) -> SuiteStore:
    return SuiteStore(database)


def new_suite(agent: StoredAgent, suite_id: str = "sui_1", *, minute: int = 0, suite: Suite = SUITE) -> NewSuite:
    return NewSuite(
        id=suite_id,
        organization_id=agent.organization_id,
        agent_id=agent.id,
        agent_version=agent.version,
        agent_name=agent.name,
        suite=suite,
        planned=len(plan_of(suite)),
        created_at=START + timedelta(minutes=minute),
    )


def beginning(agent: StoredAgent, run: Run = ANNA, suite_id: str = "sui_1") -> BeginRunInput:
    return BeginRunInput(
        suite_id=suite_id,
        run=run,
        session_id=run.session_id(suite_id),
        organization_id=ORGANIZATION,
        agent=AgentRef(id=agent.id, version=agent.version),
        agent_number=agent.number,
        agent_name=agent.name,
        name=f"{run.scenario} {run.repeat}",
        model="demo",
        initial_context={"first_name": "Anna"},
        simulator={"enabled": True},
        at=START,
    )


def recording(run: Run = ANNA, outcome: Outcome = "passed", suite_id: str = "sui_1") -> RecordRunInput:
    return RecordRunInput(
        suite_id=suite_id,
        run=run,
        session_id=run.session_id(suite_id),
        organization_id=ORGANIZATION,
        verdict=Verdict(outcome=outcome),
        at=START + timedelta(minutes=5),
    )


def status_input(status: SuiteStatus, *, minute: int, outcome: Outcome | None = None) -> NoteSuiteInput:
    return NoteSuiteInput(suite_id="sui_1", status=status, outcome=outcome, at=START + timedelta(minutes=minute))


async def created(store: SuiteStore, agent: StoredAgent) -> StoredSuite:
    return await store.create(new_suite(agent))


async def test_suite_is_found_as_it_was_written_and_only_by_its_organization(
    store: SuiteStore, agent: StoredAgent
) -> None:
    suite = await created(store, agent)
    assert suite.suite == SUITE
    assert (suite.status, suite.outcome, suite.planned) == ("running", None, 2)
    assert await store.find(ORGANIZATION, "sui_1") == suite
    assert await store.find("org_other", "sui_1") is None


async def test_suite_that_is_created_again_stays_as_it_is(store: SuiteStore, agent: StoredAgent) -> None:
    suite = await created(store, agent)
    other = new_suite(agent, minute=3, suite=SUITE.model_copy(update={"name": "another"}))
    assert await store.create(other) == suite


async def test_suites_are_listed_newest_first_page_by_page(store: SuiteStore, agent: StoredAgent) -> None:
    for minute, suite_id in enumerate(["sui_1", "sui_2", "sui_3"]):
        await store.create(new_suite(agent, suite_id, minute=minute))
    page = await store.list(ORGANIZATION, limit=2)
    rest = await store.list(ORGANIZATION, limit=2, cursor=page.next_cursor)
    assert [suite.id for suite in (*page.items, *rest.items)] == ["sui_3", "sui_2", "sui_1"]
    assert rest.next_cursor is None
    assert (await store.list("org_other", limit=2)).items == ()


async def test_a_suite_that_was_not_started_is_deleted(store: SuiteStore, agent: StoredAgent) -> None:
    await created(store, agent)
    await store.discard_unstarted("sui_1")
    assert await store.find(ORGANIZATION, "sui_1") is None


async def test_run_that_begins_twice_is_there_once_with_its_session(
    database: Database, store: SuiteStore, agent: StoredAgent
) -> None:
    await created(store, agent)
    for _ in range(2):
        await store.begin_run(beginning(agent))
    (run,) = await store.runs("sui_1")
    assert (run.run, run.verdict, run.ended_at) == (ANNA, None, None)
    session = await SessionStore(database).find(ORGANIZATION, run.session_id)
    assert session is not None
    assert (session.suite_id, session.simulator, session.name) == ("sui_1", {"enabled": True}, "anna 1")
    assert (await store.progress("sui_1")).running == 1


async def test_a_run_whose_session_is_erased_keeps_its_outcome_without_the_reasons(
    store: SuiteStore, agent: StoredAgent, database: Database
) -> None:
    await created(store, agent)
    await store.begin_run(beginning(agent))
    why = CriterionVerdict(criterion="polite", outcome="failed", reason="She said: the words that nobody may find.")
    judged = recording(outcome="failed").model_copy(update={"verdict": Verdict(outcome="failed", criteria=(why,))})
    await store.record_run(judged)
    await ErasureStore(database).erase(ORGANIZATION, ANNA.session_id("sui_1"))
    (run,) = await store.runs("sui_1")
    assert run.verdict == Verdict(outcome="failed")


async def test_the_first_record_of_a_run_stays_and_counts_its_saved_steps(
    database: Database, store: SuiteStore, agent: StoredAgent
) -> None:
    await created(store, agent)
    await store.begin_run(beginning(agent))
    session_id = ANNA.session_id("sui_1")
    steps = StepStore(database)
    for number, cost in enumerate(["0.01", "0.05", "0.02"]):
        await save_step(steps, f"turn_{number}", session_id=session_id, model_reply=reply(cost=Decimal(cost)))
    turns = conversation(3)
    await SettlementStore(database).settle(settling(*turns, session_id=session_id))
    price = await store.record_run(recording(outcome="failed"))
    assert (price.cost, price.largest_call) == (Decimal("0.08"), Decimal("0.05"))
    assert await store.record_run(recording(outcome="passed")) == price
    (run,) = await store.runs("sui_1")
    assert run.verdict == Verdict(outcome="failed")
    assert (run.turns, run.cost.total) == (3, Decimal("0.08"))


async def test_the_progress_of_a_suite_follows_the_ledger_while_runs_go_on(
    database: Database, store: SuiteStore, agent: StoredAgent
) -> None:
    await created(store, agent)
    await store.create(new_suite(agent, "sui_2"))
    for suite_id in ("sui_1", "sui_2"):
        await store.begin_run(beginning(agent, suite_id=suite_id))
    session_id = ANNA.session_id("sui_1")
    await save_step(StepStore(database), "turn_0", session_id=session_id, model_reply=reply(cost=Decimal("0.01")))
    await SettlementStore(database).settle(settling(*conversation(2), session_id=session_id))
    standing = await store.progress("sui_1")
    assert (standing.running, standing.turns, standing.cost) == (1, 2, Decimal("0.01"))
    other = await store.progress("sui_2")
    assert (other.running, other.turns, other.cost) == (1, 0, Decimal(0))
    rows = (await LedgerStore(database).rows(ORGANIZATION, limit=10)).items
    assert {row.suite_id for row in rows} == {"sui_1"}


async def test_the_progress_of_a_suite_includes_what_running_conversations_may_still_cost(
    database: Database, store: SuiteStore, agent: StoredAgent
) -> None:
    await created(store, agent)
    for repeat, held in enumerate(["0.50", "0.30", "0.005", "0"], start=1):
        run = Run(scenario="anna", repeat=repeat)
        await store.begin_run(beginning(agent, run).model_copy(update={"held": Decimal(held)}))
    assert (await store.progress("sui_1")).held == Decimal("0.805")
    for repeat in (1, 3):
        session_id = Run(scenario="anna", repeat=repeat).session_id("sui_1")
        await save_step(StepStore(database), "turn_0", session_id=session_id, model_reply=reply(cost=Decimal("0.01")))
        await SettlementStore(database).settle(settling(*conversation(1), session_id=session_id))
    assert (await store.progress("sui_1")).held == Decimal("0.79"), "the third has cost more than was held for it"
    await store.record_run(recording(Run(scenario="anna", repeat=1)))
    assert (await store.progress("sui_1")).held == Decimal("0.30")


async def test_suites_are_found_by_their_agent_and_its_version(store: SuiteStore, agent: StoredAgent) -> None:
    await created(store, agent)
    await store.create(replace(new_suite(agent, "sui_2", minute=1), agent_version=2))

    async def ids(agent: str | None = None, agent_version: int | None = None) -> list[str]:
        found = await store.list(ORGANIZATION, limit=10, agent=agent, agent_version=agent_version)
        return [each.id for each in found.items]

    assert await ids() == ["sui_2", "sui_1"]
    for known in (agent.id, agent.name):
        assert await ids(agent=known) == ["sui_2", "sui_1"]
        assert await ids(agent=known, agent_version=2) == ["sui_2"]
    assert await ids(agent="nobody") == []
    assert await ids(agent_version=3) == []


async def test_the_progress_of_a_suite_has_the_outcomes_of_every_scenario(
    store: SuiteStore, agent: StoredAgent
) -> None:
    await created(store, agent)
    found: list[tuple[str, int, Outcome | None]] = [
        ("anna", 1, "passed"),
        ("anna", 2, "failed"),
        ("anna", 3, "passed"),
        ("ben", 1, "inconclusive"),
        ("ben", 2, None),
    ]
    for scenario, repeat, outcome in found:
        run = Run(scenario=scenario, repeat=repeat)
        await store.begin_run(beginning(agent, run))
        if outcome is not None:
            await store.record_run(recording(run, outcome))
    standing = await store.progress("sui_1")
    assert standing.tallies == {"anna": Tally(passed=2, failed=1), "ben": Tally(inconclusive=1)}
    assert standing.running == 1


async def test_late_status_does_not_replace_a_newer_one(store: SuiteStore, agent: StoredAgent) -> None:
    await created(store, agent)
    await store.record_status(status_input("completed", minute=9, outcome="passed"))
    await store.record_status(status_input("paused", minute=5))
    suite = await store.find(ORGANIZATION, "sui_1")
    assert suite is not None
    assert (suite.status, suite.outcome, suite.updated_at) == ("completed", "passed", START + timedelta(minutes=9))


async def test_a_run_whose_session_was_erased_does_not_begin_again(
    database: Database, store: SuiteStore, agent: StoredAgent
) -> None:
    await store.create(new_suite(agent))
    begun = beginning(agent)
    assert await store.begin_run(begun)
    assert await store.begin_run(begun)
    assert await ErasureStore(database).erase(ORGANIZATION, begun.session_id)
    assert not await store.begin_run(begun)
    assert await SessionStore(database).find(ORGANIZATION, begun.session_id) is None
