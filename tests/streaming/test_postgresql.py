"""Live delivery from workers to APIs in other processes, over PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import Connection, text

from contracts.sessions import TurnStart
from store.database.connection import Database
from streaming.hub import LiveHub
from streaming.messages import TextDelta
from streaming.postgresql import RemoteSubscribers, receive_from_workers, remote_subscribers
from tests.support.conversation import BEGINNING
from tests.support.waiting import eventually

SESSION = "ses_1"
WORDS = "Grüße \U0001f600 und \u0001 mehr. " * 700
"""Far more than fits into one notification, with characters of one to four bytes."""


@pytest.fixture
def kind() -> str:
    """The database of these tests."""
    return "postgresql"


@dataclass(frozen=True)
class Apart:
    """An API and a worker that share nothing but a database."""

    hub: LiveHub
    subscribers: RemoteSubscribers
    database: Database

    async def is_watched(self) -> bool:
        """True if the worker knows that the session is watched."""
        return self.subscribers.is_watched(SESSION)


@pytest.fixture
async def apart(database: Database, other_process: Database) -> AsyncIterator[Apart]:
    """An API and a worker, connected."""
    hub = LiveHub()
    async with receive_from_workers(hub, database), remote_subscribers(other_process) as subscribers:
        yield Apart(hub, subscribers, database)


def delta(words: str, *, offset: int = 0, attempt: int = 1) -> TextDelta:
    return TextDelta("turn_1", (0, attempt), base=0, offset=offset, text=words)


async def test_a_worker_learns_when_a_session_gains_and_loses_its_watchers(apart: Apart) -> None:
    assert not await apart.is_watched()
    with apart.hub.watch(SESSION):
        await eventually(apart.is_watched)
    await eventually(lambda: negated(apart.is_watched))


async def test_a_text_of_any_length_arrives_whole(apart: Apart) -> None:
    with apart.hub.watch(SESSION) as watch:
        await eventually(apart.is_watched)
        apart.subscribers.publish_delta(SESSION, delta(WORDS))
        await eventually(lambda: has_text(watch.streamed_texts, WORDS))


async def test_words_before_the_log_arrive_with_the_start_of_their_turn(apart: Apart) -> None:
    opening = TurnStart(parent_id="turn_0", index=1, created_at=BEGINNING, message_id='"' * 200)

    async def arrived() -> bool:
        return [(each.text, each.opening, each.is_logged) for each in watch.streams().values()] == [
            (WORDS, opening, False)
        ]

    with apart.hub.watch(SESSION) as watch:
        await eventually(apart.is_watched)
        early = TextDelta("turn_1", (0, 1), base=0, offset=0, text=WORDS, opening=opening, is_logged=False)
        apart.subscribers.publish_delta(SESSION, early)
        await eventually(arrived)
        assert watch.streamed_texts() == {}


async def test_nothing_is_sent_for_a_session_without_watchers(apart: Apart) -> None:
    with apart.hub.watch("ses_2"):
        await eventually(lambda: watched(apart.subscribers, "ses_2"))
        apart.subscribers.publish_delta(SESSION, delta("Hello"))
        assert not apart.subscribers.bus.waiting


async def test_log_growth_wakes_the_watchers(apart: Apart) -> None:
    with apart.hub.watch(SESSION) as watch:
        await eventually(apart.is_watched)
        while await watch.wait(within=0.01):
            pass
        apart.subscribers.log_appended(SESSION)
        assert await watch.wait(within=10)


async def test_a_worker_that_starts_later_learns_which_sessions_are_watched(
    database: Database, other_process: Database
) -> None:
    hub = LiveHub()
    async with receive_from_workers(hub, database):
        with hub.watch(SESSION):
            async with remote_subscribers(other_process) as subscribers:
                await eventually(lambda: watched(subscribers, SESSION))


async def test_new_watchers_receive_a_pending_reply_from_its_beginning(apart: Apart) -> None:
    def greet() -> None:
        apart.subscribers.publish_delta(SESSION, delta("Hello there"))

    with apart.subscribers.on_subscribe(SESSION, greet), apart.hub.watch(SESSION) as watch:
        await eventually(lambda: has_text(watch.streamed_texts, "Hello there"))


async def test_cut_connections_are_reopened_and_missed_text_is_sent(apart: Apart) -> None:
    said = "Hello"

    def greet() -> None:
        apart.subscribers.publish_delta(SESSION, delta(said))

    with apart.subscribers.on_subscribe(SESSION, greet), apart.hub.watch(SESSION) as watch:
        await eventually(lambda: has_text(watch.streamed_texts, "Hello"))
        said = "Hello again"
        assert await apart.database.write(cut_live_connections) == 2
        await eventually(lambda: has_text(watch.streamed_texts, "Hello again"))


def cut_live_connections(connection: Connection) -> int:
    """End the connections that carry notifications; returns how many there were."""
    statement = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'playhead live' AND datname = current_database()"
    )
    return int(connection.execute(statement).scalar_one())


async def has_text(streamed_texts: Callable[[], dict[str, str]], words: str) -> bool:
    """True if this is the text of the turn so far."""
    return streamed_texts() == {"turn_1": words}


async def watched(subscribers: RemoteSubscribers, session_id: str) -> bool:
    """True if the worker knows that a session is watched."""
    return subscribers.is_watched(session_id)


async def negated(look: Callable[[], object]) -> bool:
    """True if the condition is false."""
    found = look()
    return not (await found if asyncio.iscoroutine(found) else found)
