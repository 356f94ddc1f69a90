"""The two loads: messages at a steady pace, whose latency counts, and as many as possible, whose number counts."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Protocol

TEXT = "Could you tell me a little more about that, please?"


class Talk(Protocol):
    """Anything that takes a message for one of its sessions and returns when the answer is there."""

    async def say(self, session: int, text: str) -> None: ...


async def latencies(talk: Talk, *, sessions: int, per_second: float, seconds: float) -> list[float]:
    """Milliseconds of each message, sent at fixed moments whether or not the last one was answered."""
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
    """Messages a second while every session sends its next message as soon as the last one is answered."""
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
