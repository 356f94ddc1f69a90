"""The process of one peer: takes orders on standard input, one JSON object a line, and reports on standard output.

Run by the benchmark as `python -m benchmarks.peers.process MODULE`, with the peer's environment.
"""

import asyncio
import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any, cast
from uuid import uuid4

from benchmarks.peers.interface import MESSAGE, Peer, PeerModule, Settings

MAX_ORDER = 2**20
MAX_REASON = 600
Report = dict[str, Any]  # Any: JSON


class Orders:
    """The commands of the benchmark to a peer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._sending: asyncio.Task[str] | None = None

    async def begin(self, names: list[str], past_turns: int) -> Report:
        """Make conversations: one, then the others at once."""
        await self._peer.begin(names[0], past_turns)
        await asyncio.gather(*(self._peer.begin(name, past_turns) for name in names[1:]))
        return {}

    async def talk(self, name: str, turns: int) -> Report:
        """Send messages one by one; returns the milliseconds of each, and why it ended early if it did."""
        taken: list[float] = []
        for _ in range(turns):
            began = time.perf_counter()
            try:
                await self._peer.say(name, MESSAGE, uuid4().hex)
            except Exception as error:
                return {"milliseconds": taken, "died": _reason(error)}
            taken.append((time.perf_counter() - began) * 1_000)
        return {"milliseconds": taken}

    async def crowd(self, names: list[str], warm_up: float, seconds: float) -> Report:
        """Send messages in all conversations at once, each as soon as the one before is answered; replies a second."""
        begins = time.perf_counter() + warm_up
        ends = begins + seconds
        counted = 0

        async def one(name: str) -> None:
            nonlocal counted
            while time.perf_counter() < ends:
                await self._peer.say(name, MESSAGE, uuid4().hex)
                if begins <= time.perf_counter() <= ends:
                    counted += 1

        try:
            await asyncio.gather(*(one(name) for name in names))
        except Exception as error:
            return {"died": _reason(error)}
        return {"turns_per_second": counted / seconds}

    async def send(self, name: str, text: str, message_id: str) -> Report:
        """Send a message and do not wait for the reply, which is lost if the peer or its services are killed."""
        self._sending = asyncio.create_task(self._peer.say(name, text, message_id))
        return {}

    async def say(self, name: str, text: str, message_id: str) -> Report:
        """Send a message; returns the reply."""
        return {"reply": await self._peer.say(name, text, message_id)}

    async def repeat(self, name: str, text: str, message_id: str) -> Report:
        """Ask again for the reply to a message that a crash interrupted."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
            self._sending.exception()
        return {"reply": await self._peer.repeat(name, text, message_id)}


def _reason(error: BaseException) -> str:
    """The innermost cause: frameworks wrap it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"[:MAX_REASON]


async def serve(module: PeerModule, channel: int) -> None:
    """Open the peer and carry out orders until standard input ends."""
    reader = asyncio.StreamReader(limit=MAX_ORDER)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    def report(what: Report) -> None:
        os.write(channel, json.dumps(what).encode() + b"\n")

    async with module.opened(Settings.read()) as peer:
        orders = Orders(peer)
        report({"versions": {name: version(name) for name in module.DISTRIBUTIONS}})
        while line := await reader.readline():
            order = json.loads(line)
            name = order.pop("order")
            try:
                report(await getattr(orders, name)(**order))
            except Exception as error:
                report({"failed": _reason(error)})


def main() -> None:
    """Keep the channel of reports for ourselves: what a framework prints goes to the log."""
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module = cast(PeerModule, importlib.import_module(f"benchmarks.peers.{sys.argv[1]}"))
    asyncio.run(serve(module, channel))


if __name__ == "__main__":
    main()
