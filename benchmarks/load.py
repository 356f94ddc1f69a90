"""The two loads: messages at a steady rate, for latency, and as many as possible, for throughput."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Protocol

TEXT = "Could you tell me a little more about that, please?"


class Talk(Protocol):
    """A target of the load: sends a message to one of its sessions and returns when the reply has arrived."""

    async def say(self, session: int, text: str) -> None: ...


async def latencies(talk: Talk, *, sessions: int, per_second: float, seconds: float) -> list[float]:
    """Milliseconds of each message; messages are sent at fixed times, even if earlier ones are not answered yet."""
    taken: list[float] = []

    async def one(session: int) -> None:
        started = time.perf_counter()
        await talk.say(session, TEXT)
        taken.append((time.perf_counter() - started) * 1000)

    async with asyncio.TaskGroup() as group:
        async for number in _ticks(per_second, seconds):
            group.create_task(one(number % sessions))
    return taken


async def throughput(talk: Talk, *, sessions: int, warm_up: float, seconds: float) -> float:
    """Messages per second when each session sends its next message as soon as it has a reply."""
    begins = time.perf_counter() + warm_up
    ends = begins + seconds
    counted = 0

    async def one(session: int) -> None:
        nonlocal counted
        while (now := time.perf_counter()) < ends:
            await talk.say(session, TEXT)
            if now >= begins and time.perf_counter() <= ends:
                counted += 1

    await asyncio.gather(*(one(session) for session in range(sessions)))
    return counted / seconds


async def _ticks(per_second: float, seconds: float) -> AsyncIterator[int]:
    started = time.perf_counter()
    for number in itertools.count():
        due = started + number / per_second
        if due - started >= seconds:
            return
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        yield number
