"""Agents: versions are added and never changed, also by concurrent callers."""

import asyncio
from dataclasses import replace

import pytest

import store.agents
from store.agents import AgentName, AgentStore
from store.api_keys import KeyStore
from store.database.connection import Database
from tests.store.database.statements import counted_statements
from tests.support.stored_conversations import ORGANIZATION, definition


@pytest.fixture
async def agents(database: Database) -> AgentStore:
    await KeyStore(database).ensure_organization(ORGANIZATION, "Trattoria")
    return AgentStore(database)


async def test_first_version_makes_the_agent(agents: AgentStore) -> None:
    added = await agents.add_version(ORGANIZATION, definition(), ("no end",))
    assert added.id.startswith("agt_")
    assert (added.version, added.warnings, added.definition) == (1, ("no end",), definition())
    assert await agents.find(ORGANIZATION, added.id) == added
    assert await agents.find(ORGANIZATION, added.name) == added


async def test_another_definition_is_another_version_and_the_old_one_stays(agents: AgentStore) -> None:
    first = await agents.add_version(ORGANIZATION, definition(prompt="one"), ())
    second = await agents.add_version(ORGANIZATION, definition(prompt="two"), ())
    assert (second.id, second.number, second.version) == (first.id, first.number, 2)
    assert await agents.find(ORGANIZATION, first.id) == second
    assert await agents.find(ORGANIZATION, first.id, 1) == first
    assert await agents.definition(first.id, 1) == first.definition
    for unknown in (0, 3, -1, 2**40):
        assert await agents.find(ORGANIZATION, first.id, unknown) is None


async def test_equal_definition_adds_no_version_and_has_the_warnings_of_the_newest_file(agents: AgentStore) -> None:
    first = await agents.add_version(ORGANIZATION, definition(prompt="one"), ("early",))
    pushed = await agents.add_version(ORGANIZATION, definition(prompt="one"), ("late",))
    assert pushed == replace(first, warnings=("late",))
    await agents.add_version(ORGANIZATION, definition(prompt="two"), ())
    again = await agents.add_version(ORGANIZATION, definition(prompt="one"), ())
    assert again.version == 3, "going back to an earlier definition is a change"


async def test_concurrent_pushes_make_one_agent_with_a_version_each(
    agents: AgentStore, database: Database, other_process: Database
) -> None:
    stores = [agents, AgentStore(other_process)]
    added = await asyncio.gather(
        *(
            stores[number % 2].add_version(ORGANIZATION, definition(prompt=f"prompt {number}"), ())
            for number in range(10)
        )
    )
    assert len({agent.id for agent in added}) == 1
    assert sorted(agent.version for agent in added) == list(range(1, 11))


async def test_concurrent_pushes_of_one_definition_make_one_version(
    agents: AgentStore, other_process: Database
) -> None:
    stores = [agents, AgentStore(other_process)]
    added = await asyncio.gather(
        *(stores[number % 2].add_version(ORGANIZATION, definition(), ()) for number in range(10))
    )
    assert {(agent.id, agent.version) for agent in added} == {(added[0].id, 1)}


async def test_organizations_have_their_own_agents(agents: AgentStore, database: Database) -> None:
    await KeyStore(database).ensure_organization("org_other", "Other")
    mine = await agents.add_version(ORGANIZATION, definition(), ())
    theirs = await agents.add_version("org_other", definition(), ())
    assert mine.id != theirs.id
    assert await agents.find("org_other", mine.id) is None
    assert (await agents.list("org_other", 10)).items == (theirs,)


async def test_agent_whose_name_is_the_id_of_another_does_not_hide_it(agents: AgentStore) -> None:
    named = await agents.add_version(ORGANIZATION, definition(), ())
    await agents.add_version(ORGANIZATION, definition(name=named.id), ())
    assert await agents.find(ORGANIZATION, named.id) == named


async def test_list_has_the_latest_versions_page_by_page(agents: AgentStore) -> None:
    for number in range(5):
        await agents.add_version(ORGANIZATION, definition(name=f"agent-{number}"), ())
    await agents.add_version(ORGANIZATION, definition(name="agent-1", prompt="newer"), ())
    first = await agents.list(ORGANIZATION, 3)
    second = await agents.list(ORGANIZATION, 3, first.next_cursor)
    listed = [(agent.name, agent.version) for agent in (*first.items, *second.items)]
    assert listed == [("agent-4", 1), ("agent-3", 1), ("agent-2", 1), ("agent-1", 2), ("agent-0", 1)]
    assert second.next_cursor is None
    with pytest.raises(ValueError, match="cursor"):
        await agents.list(ORGANIZATION, 3, "forged")


async def test_names_are_listed_without_definitions(agents: AgentStore, database: Database) -> None:
    await KeyStore(database).ensure_organization("org_other", "Other")
    added = [await agents.add_version(ORGANIZATION, definition(name=f"agent-{n}"), ()) for n in range(3)]
    await agents.add_version("org_other", definition(name="theirs"), ())
    newer = await agents.add_version(ORGANIZATION, definition(name="agent-0", prompt="newer"), ())
    newest_first = [added[2], added[1], newer]
    found = await agents.names(ORGANIZATION)
    assert found == [AgentName(each.id, each.number, each.name, each.created_at) for each in newest_first]


async def test_models_of_the_newest_agents(agents: AgentStore) -> None:
    for number, model in enumerate(["openai:old", None, 'openai:"quoted" é', "openai:gpt", "openai:gpt"]):
        named = definition(name=f"agent-{number}").model_copy(update={"model": model})
        await agents.add_version(ORGANIZATION, named, ())
    assert await agents.models(ORGANIZATION, 4) == {'openai:"quoted" é', "openai:gpt"}


async def test_cache_of_definitions_is_bounded_by_bytes(agents: AgentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.agents, "MAX_CACHED_BYTES", 50_000)
    added = [await agents.add_version(ORGANIZATION, definition(prompt=str(n) * 20_000), ()) for n in range(4)]
    for each in added:
        assert await agents.definition(each.id, each.version) == each.definition
    assert [version for _, version in agents._definitions] == [3, 4]
    assert agents._cached_bytes < 50_000


async def test_definition_is_read_once(agents: AgentStore, database: Database) -> None:
    added = await agents.add_version(ORGANIZATION, definition(), ())
    await agents.definition(added.id, 1)
    with counted_statements(database) as statements:
        assert await agents.definition(added.id, 1) == definition()
    assert not statements
    with pytest.raises(LookupError, match="no version 2"):
        await agents.definition(added.id, 2)


async def test_agent_is_found_by_its_number_in_its_organization(agents: AgentStore) -> None:
    await agents.add_version(ORGANIZATION, definition(prompt="one"), ())
    latest = await agents.add_version(ORGANIZATION, definition(prompt="two"), ())
    assert await agents.numbered(ORGANIZATION, latest.number) == latest
    assert await agents.numbered("another", latest.number) is None
    for unknown in (0, -1, latest.number + 1, 2**63, 10**30):
        assert await agents.numbered(ORGANIZATION, unknown) is None
