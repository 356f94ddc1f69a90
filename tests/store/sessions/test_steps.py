"""Saved steps: paid replies are kept, and reading a conversation costs the same at any length."""

import asyncio
from datetime import UTC
from functools import partial

import pytest
from sqlalchemy import Connection

from store.database.connection import Database
from store.sessions.sessions import SessionStore
from store.sessions.steps import HistoryMissing, StepStore
from tests.store.database.statements import counted_statements
from tests.support.stored_conversations import ORGANIZATION, SESSION, agent_in, new_session, reply, save_step


@pytest.fixture
def steps(database: Database) -> StepStore:
    return StepStore(database)


async def chain(steps: StepStore, length: int, *, characters: int = 100) -> None:
    """Turns `turn_0` ... of one step each, every one anchored on the one before."""
    for index in range(length):
        anchor = f"turn_{index - 1}" if index else None
        await save_step(steps, f"turn_{index}", anchor=anchor, messages="x" * characters)


async def test_saved_step_comes_back_as_it_was(steps: StepStore) -> None:
    saved = await save_step(steps, "turn_0", messages='[{"kind": "request", "text": "a\\u0000ü"}]')
    (found,) = (await steps.turn_steps(SESSION, "turn_0")).steps
    assert found == saved
    assert found.created_at.tzinfo is UTC


async def test_steps_of_a_turn_come_in_order(steps: StepStore) -> None:
    for step in (2, 0, 1):
        await save_step(steps, "turn_0", step)
    await save_step(steps, "turn_1", anchor="turn_0")
    await save_step(steps, "turn_0", session_id="ses_2")
    found = (await steps.turn_steps(SESSION, "turn_0")).steps
    assert [(step.turn_id, step.step) for step in found] == [("turn_0", 0), ("turn_0", 1), ("turn_0", 2)]


async def test_first_of_racing_attempts_wins_and_all_see_it(database: Database, other_process: Database) -> None:
    here, there = StepStore(database), StepStore(other_process)
    attempts = [
        save_step(here if number % 2 else there, "turn_0", model_reply=reply(text=f"attempt {number}"))
        for number in range(8)
    ]
    texts = {saved.reply.text for saved in await asyncio.gather(*attempts)}
    (stored,) = (await here.turn_steps(SESSION, "turn_0")).steps
    assert texts == {stored.reply.text}


async def test_history_is_whole_turns_oldest_first(steps: StepStore) -> None:
    await save_step(steps, "turn_0", 0)
    await save_step(steps, "turn_0", 1)
    await save_step(steps, "turn_1", 0, anchor="turn_0", after="turn_0/1")
    found = await steps.history(SESSION, "turn_1/0", 1_000)
    assert [(step.turn_id, step.step) for step in found] == [("turn_0", 0), ("turn_0", 1), ("turn_1", 0)]


async def test_a_gap_is_never_taken_for_the_beginning(steps: StepStore) -> None:
    await save_step(steps, "turn_1", anchor="turn_0")
    await save_step(steps, "turn_2", anchor="turn_1")
    with pytest.raises(HistoryMissing, match="turn_0/0"):
        await steps.history(SESSION, "turn_2/0", 1_000)
    with pytest.raises(HistoryMissing, match="turn_7/0"):
        await steps.history(SESSION, "turn_7/0", 1_000)


async def test_a_turn_answered_again_has_the_steps_of_the_answer_that_counts(database: Database) -> None:
    steps = StepStore(database)
    await save_step(steps, "turn_0", 0)
    await save_step(steps, "turn_0", 1, messages="[1]")
    await save_step(steps, "turn_0", 1, messages="[2]", digest="turn_0/1 again")
    await save_step(steps, "turn_1", anchor="turn_0", after="turn_0/1")
    await save_step(steps, "turn_1", anchor="turn_0", after="turn_0/1 again", digest="turn_1/0 again")
    for state in (StepStore(database), steps):
        for suffix, messages in (("", "[1]"), (" again", "[2]")):
            found = await state.history(SESSION, f"turn_1/0{suffix}", 1_000)
            assert [step.messages for step in found] == ["[]", messages, "[]"]
            turn = await state.turn_steps(SESSION, "turn_1", after=f"turn_0/1{suffix}")
            assert turn.find(f"turn_1/0{suffix}") == found[-1]
            assert turn.preceding() == ()
    turn = await steps.turn_steps(SESSION, "turn_0", after="turn_0/1 again")
    assert [step.messages for step in turn.preceding()] == ["[]", "[2]"]


async def test_session_without_anchor_has_no_history(steps: StepStore) -> None:
    assert await steps.history(SESSION, "", 1_000) == ()


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (350, 3), (1_000, 10), (10_000, 10)],
)
async def test_history_keeps_the_newest_turns_that_fit(database: Database, budget: int, expected: int) -> None:
    await chain(StepStore(database), 10)
    cold = StepStore(database)
    for state in ("cold", "warm"):
        found = await cold.history(SESSION, "turn_9/0", budget)
        newest = [f"turn_{index}" for index in range(10 - expected, 10)]
        assert [step.turn_id for step in found] == newest, f"{state}, budget {budget}"


async def test_turn_with_many_steps_counts_as_a_whole(database: Database) -> None:
    steps = StepStore(database)
    for step in range(3):
        await save_step(steps, "turn_0", step, messages="x" * 100)
    await save_step(steps, "turn_1", anchor="turn_0", after="turn_0/2", messages="x" * 100)
    for state in (StepStore(database), steps):
        assert len(await state.history(SESSION, "turn_1/0", 399)) == 1
        assert len(await state.history(SESSION, "turn_1/0", 400)) == 4


async def test_branches_share_what_came_before_the_fork(steps: StepStore) -> None:
    await chain(steps, 3)
    await save_step(steps, "turn_2b", anchor="turn_1")
    await save_step(steps, "turn_3b", anchor="turn_2b")
    one = await steps.history(SESSION, "turn_2/0", 10_000)
    other = await steps.history(SESSION, "turn_3b/0", 10_000)
    assert [step.turn_id for step in one] == ["turn_0", "turn_1", "turn_2"]
    assert [step.turn_id for step in other] == ["turn_0", "turn_1", "turn_2b", "turn_3b"]


async def test_history_in_memory_needs_no_statement(database: Database) -> None:
    steps = StepStore(database)
    await chain(steps, 5)
    await steps.history(SESSION, "turn_3/0", 250)
    with counted_statements(database) as statements:
        await steps.turn_steps(SESSION, "turn_5", after="turn_4/0")
        await steps.history(SESSION, "turn_4/0", 250)
    assert len(statements) == 1, f"one lookup brings the new anchor along: {statements}"


async def test_cold_history_is_one_statement(database: Database) -> None:
    await chain(StepStore(database), 30)
    cold = StepStore(database)
    with counted_statements(database) as statements:
        assert len(await cold.history(SESSION, "turn_29/0", 1_000)) == 10
    assert len(statements) == 1
    with counted_statements(database) as statements:
        assert len(await cold.history(SESSION, "turn_29/0", 1_000)) == 10
    assert not statements


async def test_cold_history_reads_no_more_than_its_budget_asks_for(database: Database) -> None:
    await chain(StepStore(database), 60)
    cold = StepStore(database)
    await cold.history(SESSION, "turn_59/0", 500)
    with counted_statements(database) as statements:
        await cold.history(SESSION, "turn_50/0", 100)
    assert statements, "turn_50 lies beyond the budget and should not have been read"


async def test_turn_that_is_still_going_on_is_never_taken_from_memory(
    database: Database, other_process: Database
) -> None:
    here, there = StepStore(database), StepStore(other_process)
    await save_step(here, "turn_0", 0)
    assert len((await here.turn_steps(SESSION, "turn_0")).steps) == 1
    await save_step(there, "turn_0", 1)
    assert len((await here.turn_steps(SESSION, "turn_0")).steps) == 2
    assert len(await here.history(SESSION, "turn_0/1", 1_000)) == 2


async def test_what_was_saved_here_is_not_read_again(database: Database) -> None:
    steps = StepStore(database)
    await SessionStore(database).create_once(new_session(await agent_in(database)))
    await save_step(steps, "turn_0", 0)
    await save_step(steps, "turn_0", 1)
    await save_step(steps, "turn_1", anchor="turn_0", after="turn_0/1")
    with counted_statements(database) as statements:
        found = await steps.history(SESSION, "turn_1/0", 1_000)
    assert [(step.turn_id, step.step) for step in found] == [("turn_0", 0), ("turn_0", 1), ("turn_1", 0)]
    assert statements == []


async def test_small_cache_forgets_but_answers_the_same(database: Database) -> None:
    await chain(StepStore(database), 20)
    roomy, tiny = StepStore(database), StepStore(database, cache_bytes=8_000)
    for newest in (19, 5, 12, 19):
        expected = await roomy.history(SESSION, f"turn_{newest}/0", 700)
        assert await tiny.history(SESSION, f"turn_{newest}/0", 700) == expected


async def test_sessions_do_not_see_each_other(steps: StepStore) -> None:
    await save_step(steps, "turn_0", messages="[1]")
    await save_step(steps, "turn_0", session_id="ses_2", messages="[2]")
    for session_id, messages in ((SESSION, "[1]"), ("ses_2", "[2]")):
        (step,) = await steps.history(session_id, "turn_0/0", 100)
        assert (step.messages, step.organization_id) == (messages, ORGANIZATION)


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_no_lookup_walks_through_a_whole_session(database: Database, kind: str) -> None:
    await chain(StepStore(database), 3)
    cold = StepStore(database)
    with counted_statements(database) as statements:
        await cold.history(SESSION, "turn_2/0", 1_000)
        await StepStore(database).turn_steps(SESSION, "turn_2", after="turn_1/0")
        await SessionStore(database).turns(SESSION, leaf_turn_id="turn_2", limit=2)
    for statement in statements:
        plan = await database.read(partial(query_plan, statement=statement))
        searches = [step for step in plan if " USING INDEX " in step]
        assert searches
        assert all("session_id=? AND " in step for step in searches), f"{plan} for {statement}"


def query_plan(connection: Connection, statement: str) -> list[str]:
    """SQLite's query plan for a statement."""
    unbound = (None,) * statement.count("?")
    return [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", unbound)]
