"""Many watchers at once: all receive everything, and a slow one does not delay the others."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx2
import pytest_asyncio
from structlog.testing import capture_logs
from structlog.typing import EventDict
from temporalio.client import Client

from playhead.services.worker import build_worker
from store.database.connection import Database
from store.migrate import upgrade
from streaming.hub import LiveHub
from tests.api.conftest import quick_settings
from tests.support.api_agents import library
from tests.support.event_stream import Event, Stream, streamed_text, types_of, watching
from tests.support.provider import ModelProvider, ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi, serving
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

MANY = 200
AT_ONCE = 8
"""The number of sessions that talk at the same time, while all are watched."""
SLOW_SECONDS = 3.0
"""Timeout for a client that takes nothing. On a busy machine other clients, too, pause for a second."""
MAX_LONG_TURNS = 60
"""More long turns than fit into all buffers between a server and a client."""


@pytest_asyncio.fixture
async def dev_api(
    new_database: Callable[[str], str], client: Client, provider: ModelProvider
) -> AsyncIterator[RunningApi]:
    """An API with a worker in one process, as `playhead dev` runs them."""
    async with started_api(new_database("sqlite"), client) as running:
        yield running


@pytest_asyncio.fixture
async def dev_api_with_short_timeout(
    new_database: Callable[[str], str], client: Client, provider: ModelProvider
) -> AsyncIterator[RunningApi]:
    """The same with a short timeout for clients that take nothing."""
    async with started_api(new_database("sqlite"), client, sse_write_timeout_seconds=SLOW_SECONDS) as running:
        yield running


@asynccontextmanager
async def started_api(url: str, client: Client, **own: float) -> AsyncIterator[RunningApi]:
    database = Database.open(url)
    await upgrade(database)
    settings = quick_settings(url, "hall", request_timeout_seconds=60.0, **own)
    hub = LiveHub()
    async with (
        build_worker(settings, client, database, subscribers=hub),
        serving(settings, client, database, hub) as running,
    ):
        yield running
    await database.aclose()


@asynccontextmanager
async def unlimited_caller(running_api: RunningApi) -> AsyncIterator[Caller]:
    """Somebody who may hold any number of connections."""
    async with running_api.caller() as caller:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(
            base_url=running_api.url, headers=caller.http.headers, timeout=120, limits=limits
        ) as http:
            yield Caller(http, caller.organization)


async def opened(caller: Caller) -> str:
    """A session that has greeted and is recorded."""
    session_id = str((await caller.open("library"))["id"])
    await caller.recorded(session_id, turns=1)
    return session_id


async def test_all_watchers_of_one_session_receive_everything(dev_api: RunningApi, scripted: Scripted) -> None:
    async with unlimited_caller(dev_api) as caller, AsyncExitStack() as stack:
        await caller.push(library(scripted(TextReply("One."), TextReply("Two.")).string))
        session_id = await opened(caller)
        streams = await asyncio.gather(*(stack.enter_async_context(watching(caller, session_id)) for _ in range(MANY)))
        await asyncio.gather(*(stream.until("snapshot") for stream in streams))
        for text in ("a", "b"):
            await caller.say(session_id, text)
        await caller.end(session_id)
        received = await asyncio.gather(*(stream.rest() for stream in streams))
    first = logged(received[0])
    assert types_of(first).count("turn_completed") == 2
    assert all(logged(events) == first for events in received)
    assert {streamed_text(events) for events in received} == {"One.Two."}


async def test_watchers_of_separate_sessions_receive_everything(dev_api: RunningApi, scripted: Scripted) -> None:
    async with unlimited_caller(dev_api) as caller, AsyncExitStack() as stack:
        await caller.push(library(scripted().string))

        talking = asyncio.Semaphore(AT_ONCE)

        async def begin() -> tuple[str, Stream]:
            async with talking:
                session_id = str((await caller.open("library"))["id"])
            stream = await stack.enter_async_context(watching(caller, session_id))
            await stream.until("snapshot")  # it contains what happened before; no event repeats that
            return session_id, stream

        async def talk(number: int, session_id: str) -> None:
            async with talking:
                await caller.say(session_id, f"I am {number}")
                await caller.end(session_id)

        sessions = await asyncio.gather(*(begin() for _ in range(MANY)))
        listening = [asyncio.create_task(stream.rest()) for _, stream in sessions]
        await asyncio.gather(*(talk(number, session_id) for number, (session_id, _) in enumerate(sessions)))
        received = await asyncio.gather(*listening)
    for number, events in enumerate(received):
        *_, completed = [event for event in events if event.type == "turn_completed"]
        assert completed.data["turn"]["assistant_message"]["text"] == f"You said: I am {number}"
        assert events[-1].type == "session_completed"


async def test_a_client_that_reads_nothing_is_dropped_while_others_receive_everything(
    dev_api_with_short_timeout: RunningApi, scripted: Scripted
) -> None:
    async with unlimited_caller(dev_api_with_short_timeout) as caller, AsyncExitStack() as stack:
        await caller.push(library(scripted().string))
        session_id = await opened(caller)
        stalled = await stack.enter_async_context(stalled_client(dev_api_with_short_timeout, caller, session_id))
        stream = await stack.enter_async_context(watching(caller, session_id))
        await stream.until("snapshot")
        turns = 0
        with capture_logs() as logs:
            while not was_dropped(logs) and turns < MAX_LONG_TURNS:
                await caller.say(session_id, "x" * 30_000)
                *_, closed = await stream.until("turn_completed")
                assert closed.data["turn"]["assistant_message"]["text"] == f"You said: {'x' * 30_000}"
                turns += 1
            await eventually(lambda: dropped(logs))
        await caller.end(session_id)
        before = [event for event in await events_in(stalled) if event.id]
        async with watching(caller, session_id, after=before[-1].id) as again:
            after = logged(await again.rest())
        async with watching(caller, session_id, after=0) as whole:
            log = logged(await whole.rest())
    assert before[0].type == "snapshot"
    assert [*before[1:], *after] == log[before[0].id or 0 :]
    assert after, "it was dropped before it had received everything"


@asynccontextmanager
async def stalled_client(
    running_api: RunningApi, caller: Caller, session_id: str
) -> AsyncIterator[asyncio.StreamReader]:
    """A client that requests the events and takes none until the test reads from its reader."""
    address = urlsplit(running_api.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect((address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1_024)
    request = (
        f"GET /v1/sessions/{session_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: {caller.http.headers['authorization']}\r\n\r\n"
    )
    writer.write(request.encode())
    try:
        yield reader
    finally:
        writer.close()


async def events_in(reader: asyncio.StreamReader) -> list[Event]:
    """The events that had come before the connection was ended, without one that is cut."""
    answer = b"".join([piece async for piece in pieces_of(reader)])
    _, _, body = answer.partition(b"\r\n\r\n")
    text = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        text += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]

    async def lines() -> AsyncIterator[str]:
        for line in text.decode(errors="ignore").rpartition("\n\n")[0].split("\n"):
            yield line
        yield ""

    return await Stream(lines()).rest()


async def pieces_of(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The remaining bytes of a stream, in pieces."""
    while piece := await reader.read(65_536):
        yield piece


def logged(events: list[Event]) -> list[Event]:
    """The events that are in the log."""
    return [event for event in events if event.id and event.type != "snapshot"]


def was_dropped(logs: list[EventDict]) -> bool:
    """True if the server's log has an entry for a dropped client, with the reason."""
    return any(f"read nothing for {SLOW_SECONDS:g} seconds" in entry.get("reason", "") for entry in logs)


async def dropped(logs: list[EventDict]) -> bool:
    """The same, for waiting."""
    return was_dropped(logs)
