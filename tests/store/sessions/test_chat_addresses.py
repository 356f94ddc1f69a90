"""Addresses of chat messages: how they are found and ranked, and that nothing is found after an erasure."""

from dataclasses import replace
from datetime import timedelta

from store.database.connection import Database
from store.sessions.chat_addresses import Addresses, ChatAddress, ChatAddressStore
from store.sessions.erasure import ErasureStore
from tests.support.stored_conversations import ORGANIZATION, SESSION, START, session_in

OTHER = "ses_other"

FIRST = ChatAddress(
    session_id=SESSION,
    message_key="m1",
    organization_id=ORGANIZATION,
    asked="asked",
    system="",
    is_whole=True,
    has_history=False,
    created_at=START,
)
LATER = replace(FIRST, message_key="m2", asked="asked later", created_at=START + timedelta(minutes=1))
TWIN = replace(FIRST, session_id=OTHER, created_at=START + timedelta(minutes=2))


def places(addresses: Addresses) -> list[tuple[str, str]]:
    return [(each.session_id, each.message_key) for each in addresses]


async def test_message_is_found_before_its_reply_and_by_it_afterwards(database: Database) -> None:
    await session_in(database)
    store = ChatAddressStore(database)
    assert await store.add(FIRST)
    assert places(await store.asked(ORGANIZATION, ["asked", "other"], system="")) == [(SESSION, "m1")]
    assert await store.seen(ORGANIZATION, "seen", system="") == []
    await store.complete(SESSION, "m1", "seen", asked="another conversation up to the message")
    assert await store.seen(ORGANIZATION, "seen", system="") == []
    await store.complete(SESSION, "m1", "seen", asked="asked")
    assert places(await store.seen(ORGANIZATION, "seen", system="")) == [(SESSION, "m1")]
    assert await store.seen("org_other", "seen", system="") == []
    assert await store.known(ORGANIZATION, ["seen", "asked", "other"]) == {"seen", "asked"}


async def test_address_of_a_message_is_stored_once(database: Database) -> None:
    await session_in(database)
    store = ChatAddressStore(database)
    assert await store.add(FIRST)
    assert not await store.add(replace(FIRST, asked="something else"))
    assert await store.asked(ORGANIZATION, ["something else"], system="") == []


async def test_same_system_messages_come_first_then_the_newest_place_then_the_newest(database: Database) -> None:
    store = ChatAddressStore(database)
    for session in (SESSION, OTHER):
        await session_in(database, session)
    await store.add(FIRST)
    await store.add(TWIN)
    assert places(await store.asked(ORGANIZATION, ["asked"], system="")) == [(OTHER, "m1"), (SESSION, "m1")]
    await store.add(replace(LATER, session_id=OTHER))
    assert places(await store.asked(ORGANIZATION, ["asked"], system="")) == [(SESSION, "m1"), (OTHER, "m1")]
    await store.add(replace(TWIN, message_key="m3", system="rhymes", created_at=START - timedelta(hours=1)))
    assert places(await store.asked(ORGANIZATION, ["asked"], system="rhymes"))[0] == (OTHER, "m3")
    in_one = await store.asked(ORGANIZATION, ["asked"], system="", session_id=SESSION)
    assert places(in_one) == [(SESSION, "m1")]


async def test_rejected_message_leaves_no_address_and_the_one_before_is_the_newest_again(database: Database) -> None:
    await session_in(database)
    store = ChatAddressStore(database)
    await store.add(FIRST)
    await store.add(LATER)
    assert not (await store.asked(ORGANIZATION, ["asked"], system=""))[0].is_newest
    await store.remove(SESSION, "m2")
    assert (await store.asked(ORGANIZATION, ["asked"], system=""))[0].is_newest
    assert await store.asked(ORGANIZATION, ["asked later"], system="") == []


async def test_digests_of_a_conversation_that_is_not_whole_find_nothing(database: Database) -> None:
    await session_in(database)
    store = ChatAddressStore(database)
    await store.add(replace(FIRST, is_whole=False, has_history=True))
    await store.complete(SESSION, "m1", "seen", asked="asked")
    assert await store.asked(ORGANIZATION, ["asked"], system="") == []
    assert await store.seen(ORGANIZATION, "seen", system="") == []
    assert await store.known(ORGANIZATION, ["seen", "asked"]) == set()
    assert await store.has_history(SESSION)
    assert not await store.has_history(OTHER)


async def test_stop_of_a_message_is_noted(database: Database) -> None:
    await session_in(database)
    store = ChatAddressStore(database)
    await store.add(FIRST)
    assert not await store.was_stopped(SESSION, "m1")
    await store.note_stopped(SESSION, "m1")
    assert await store.was_stopped(SESSION, "m1")


async def test_nothing_is_found_or_stored_after_an_erasure(database: Database) -> None:
    await session_in(database)
    store = ChatAddressStore(database)
    await store.add(FIRST)
    await store.complete(SESSION, "m1", "seen", asked="asked")
    assert await ErasureStore(database).erase(ORGANIZATION, SESSION)
    assert await store.asked(ORGANIZATION, ["asked"], system="") == []
    assert await store.seen(ORGANIZATION, "seen", system="") == []
    assert not await store.add(LATER)
    await store.complete(SESSION, "m2", "seen", asked="asked later")
    await store.remove(SESSION, "m2")
    assert await store.known(ORGANIZATION, ["seen", "asked", "asked later"]) == set()
