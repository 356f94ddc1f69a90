"""The read model of sessions: look-ups, lists, and turns of any branch."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert

from domain.sessions.timeline import DiscardedBranch
from domain.turns.turn import Turn
from store.billing.billed_sessions import BilledFilter
from store.database.connection import Database
from store.database.tables import ledger
from store.sessions.sessions import SessionStore
from store.sessions.settlement import SettlementStore
from tests.store.database.statements import counted_statements
from tests.support.stored_conversations import (
    ORGANIZATION,
    SESSION,
    START,
    agent_in,
    conversation,
    head,
    ledger_row,
    new_session,
    session_in,
    settling,
    turn,
)


@pytest.fixture
def sessions(database: Database) -> SessionStore:
    return SessionStore(database)


async def ids(sessions: SessionStore, **filters: object) -> list[str]:
    """The ids that `list` gives, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        page = await sessions.list(ORGANIZATION, limit=2, cursor=cursor, **filters)  # type: ignore[arg-type]  # any filter
        found += [session.id for session in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_created_session_is_found_and_not_listed_before_it_was_settled(
    database: Database, sessions: SessionStore
) -> None:
    created = await session_in(database)
    assert await sessions.find(ORGANIZATION, SESSION) == created
    assert created.head is None
    assert await sessions.organization_of(SESSION) == ORGANIZATION
    assert await ids(sessions) == []
    await SettlementStore(database).settle(settling(turn("turn_0")))
    assert await ids(sessions) == [SESSION]
    (listed,) = (await sessions.list(ORGANIZATION, limit=1)).items
    assert listed.head == head(1, head_turn_id="turn_0")
    assert listed.recorded_at is not None
    assert (listed.initial_context, listed.annotations) == ({"first_name": "Ada"}, {"case": 7})


async def test_session_is_found_by_its_number_in_its_organization(database: Database, sessions: SessionStore) -> None:
    created = await session_in(database)
    assert await sessions.numbered(ORGANIZATION, created.number) == created
    assert await sessions.numbered("another", created.number) is None
    for unknown in (0, -1, created.number + 1, 2**63, 10**30):
        assert await sessions.numbered(ORGANIZATION, unknown) is None


async def test_session_of_another_organization_does_not_exist(database: Database, sessions: SessionStore) -> None:
    await session_in(database)
    assert await sessions.find("org_other", SESSION) is None
    assert await sessions.organization_of("ses_unknown") is None
    assert await sessions.find(ORGANIZATION, "ses_\x00") is None


async def test_only_a_session_that_never_started_is_discarded(database: Database, sessions: SessionStore) -> None:
    first = await session_in(database)
    await sessions.discard_unstarted(SESSION)
    assert await sessions.find(ORGANIZATION, SESSION) is None
    second = await session_in(database)
    assert second.number > first.number, "an alias is never given to another session"
    await SettlementStore(database).settle(settling(turn("turn_0")))
    await sessions.discard_unstarted(SESSION)
    assert await sessions.find(ORGANIZATION, SESSION) is not None


async def test_list_is_newest_first_and_filtered(database: Database, sessions: SessionStore) -> None:
    agent = await agent_in(database)
    for minute in range(5):
        await sessions.create(new_session(agent, f"ses_{minute}", minute=minute))
        status = "completed" if minute % 2 else "idle"
        at_head = head(1, status=status)  # type: ignore[arg-type]  # one of the two literals above
        await SettlementStore(database).settle(settling(session_id=f"ses_{minute}", at_head=at_head))
    assert await ids(sessions) == ["ses_4", "ses_3", "ses_2", "ses_1", "ses_0"]
    assert await ids(sessions, status="completed") == ["ses_3", "ses_1"]
    assert await ids(sessions, created_after=START + timedelta(minutes=2)) == ["ses_4", "ses_3"]
    assert await ids(sessions, suite="sui_1") == []
    for known in (agent.id, agent.name):
        assert len(await ids(sessions, agent=known)) == 5
    assert await ids(sessions, agent="nobody") == []
    assert (await sessions.list("org_other", limit=10)).items == ()


async def test_sessions_of_one_moment_are_paged_without_loss(database: Database, sessions: SessionStore) -> None:
    agent = await agent_in(database)
    for number in range(5):
        await sessions.create(new_session(agent, f"ses_{number}"))
        await SettlementStore(database).settle(settling(session_id=f"ses_{number}"))
    assert await ids(sessions) == ["ses_4", "ses_3", "ses_2", "ses_1", "ses_0"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "W10", "WzFd", "bnVsbA", "WyJzb29uIiwxXQ", "WyIyMDI2LTAxLTAxIiwxXQ", "é", "[]", "W" * 5_000]
)
async def test_forged_cursor_is_refused(sessions: SessionStore, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await sessions.list(ORGANIZATION, limit=1, cursor=cursor)


async def recorded(database: Database) -> tuple[list[Turn], list[Turn]]:
    """A conversation of ten turns, and a second branch of three that leaves it after the fourth."""
    await session_in(database)
    trunk = conversation(10)
    fork = [
        turn("fork_0", 4, parent="turn_3", message_id="again"),
        turn("fork_1", 5, parent="fork_0"),
        turn("fork_2", 6, parent="fork_1"),
    ]
    await SettlementStore(database).settle(settling(*trunk, *fork))
    return trunk, fork


async def test_turns_follow_the_branch_to_its_leaf(database: Database, sessions: SessionStore) -> None:
    trunk, fork = await recorded(database)
    assert await sessions.turns(SESSION, leaf_turn_id="turn_9", limit=100) == trunk
    assert await sessions.turns(SESSION, leaf_turn_id="fork_2", limit=100) == [*trunk[:4], *fork]
    assert await sessions.turns(SESSION, leaf_turn_id="turn_2", limit=100) == trunk[:3]
    assert await sessions.turns(SESSION, leaf_turn_id="turn_unknown", limit=100) == []
    assert await sessions.turns("ses_2", leaf_turn_id="turn_9", limit=100) == []


async def test_turns_are_paged_back_from_the_leaf(database: Database, sessions: SessionStore) -> None:
    trunk, fork = await recorded(database)
    branch = [*trunk[:4], *fork]
    for limit in (1, 3, 7, 50):
        for before in range(9):
            page = await sessions.turns(SESSION, leaf_turn_id="fork_2", limit=limit, before_index=before)
            assert page == branch[:before][-limit:], f"limit {limit}, before {before}"
    whole = await sessions.turns(SESSION, leaf_turn_id="fork_2", limit=3, before_index=2**70)
    assert whole == branch[-3:]


async def test_a_path_leads_from_the_root_to_its_leaf(database: Database, sessions: SessionStore) -> None:
    await session_in(database)
    trunk = conversation(4)
    twig = turn("twig", 2, parent="turn_1")
    await SettlementStore(database).settle(settling(*trunk, twig))
    assert await sessions.path(SESSION, "turn_3") == ["turn_0", "turn_1", "turn_2", "turn_3"]
    assert await sessions.path(SESSION, "twig") == ["turn_0", "turn_1", "twig"]
    assert await sessions.path(SESSION, "turn_unknown") == []
    assert await sessions.path("ses_other", "turn_3") == []


async def test_a_page_of_turns_is_one_statement(database: Database, sessions: SessionStore) -> None:
    await recorded(database)
    with counted_statements(database) as statements:
        await sessions.turns(SESSION, leaf_turn_id="turn_9", limit=3)
    assert len(statements) == 1


async def test_turn_of_a_message_is_found(database: Database, sessions: SessionStore) -> None:
    _, fork = await recorded(database)
    assert await sessions.turn_of_message(SESSION, "again") == fork[0]
    assert await sessions.turn_of_message(SESSION, "never") is None
    assert await sessions.turn_of_message("ses_2", "again") is None


async def test_branches_come_oldest_first(database: Database, sessions: SessionStore) -> None:
    await session_in(database)
    given_up = [
        DiscardedBranch(
            id=f"br_{number}",
            rewound_from_turn_id=None if number else "turn_1",
            leaf_turn_id=f"turn_{number}",
            discarded_at=START + timedelta(minutes=number),
        )
        for number in range(3)
    ]
    await SettlementStore(database).settle(settling(branches=(given_up[2], given_up[0])))
    await SettlementStore(database).settle(settling(branches=(given_up[1],), version=2))
    assert await sessions.branches(SESSION) == given_up
    assert await sessions.branches("ses_2") == []


async def test_one_of_many_processes_creates_a_session_and_the_others_find_it(
    database: Database, other_process: Database
) -> None:
    agent = await agent_in(database)
    stores = [SessionStore(database), SessionStore(other_process)] * 5
    sessions = [replace(new_session(agent), name=f"caller {number}") for number in range(len(stores))]
    created = await asyncio.gather(
        *(store.create_once(session) for store, session in zip(stores, sessions, strict=True))
    )
    assert len({(each.number, each.name) for each in created}) == 1
    assert await stores[0].find(ORGANIZATION, SESSION) == created[0]


async def test_the_sessions_behind_a_sum_of_usage_are_listed(database: Database, sessions: SessionStore) -> None:
    agent = await agent_in(database)
    settlement = SettlementStore(database)
    for number in range(3):
        await sessions.create(new_session(agent, f"ses_{number}", minute=number))
        await settlement.settle(settling(turn("turn_0"), session_id=f"ses_{number}"))
    day = timedelta(days=1)
    rows = [
        ledger_row(10, START, {"openai:small": "1", "duration": "2"}, session_id="ses_0"),
        ledger_row(11, START, {"openai:small": "1"}, session_id="ses_0"),
        ledger_row(12, START + day, {"openai:large": "1"}, session_id="ses_0", purpose="judge"),
        ledger_row(13, START, {"openai:large": "1"}, session_id="ses_1"),
        ledger_row(14, START, {"openai:large": "1"}, session_id="ses_2", organization_id="org_other"),
        ledger_row(15, START, {"openai:large": "1"}, session_id="ses_erased"),
    ]

    def replace_all(connection: Connection) -> None:
        connection.execute(delete(ledger))
        connection.execute(insert(ledger), rows)

    await database.write(replace_all)

    async def billed(start: datetime = START, end: datetime = START + 2 * day, **of: Any) -> list[str]:
        return await ids(sessions, billed=BilledFilter(start=start, end=end, **of))

    assert await billed() == ["ses_1", "ses_0"], "each once, newest first"
    assert await billed(end=START) == []
    assert await billed(start=START + day) == ["ses_0"]
    assert await billed(model="openai:small") == ["ses_0"]
    assert await billed(model="openai:large") == ["ses_1", "ses_0"]
    assert await billed(model="openai:large", end=START + day) == ["ses_1"]
    assert await billed(model="openai") == []
    assert await billed(model="duration") == ["ses_0"]
    assert await billed(purpose="judge") == ["ses_0"]
    assert await billed(purpose="judge", model="openai:small") == [], "one row of the ledger fits both, or none"
    found = BilledFilter(start=START, end=START + day, model="openai:large")
    assert await ids(sessions, billed=found, search="ses_0") == []
