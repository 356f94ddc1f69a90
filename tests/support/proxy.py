"""A proxy between a client of Temporal and its server, for outages and broken connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio.testing import WorkflowEnvironment

from tests.support.ports import free_port


class Proxy:
    """A proxy to a server. When it is cut, its connections break and new ones fail, until it is restored.

    `to_lose` is the number of requests still to be lost: each breaks its connection before it reaches the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.to_lose = 0
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def restore(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        self._break_connections()

    def _break_connections(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        self._open |= {writer, there_writer}
        with suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(self._send(reader, there_writer), _copy(there_reader, writer))
        for each in (writer, there_writer):
            self._open.discard(each)
            each.close()

    async def _send(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        """Copy what the client sends, but for what is to be lost."""
        while data := await reader.read(65_536):
            if self.to_lose:
                self.to_lose -= 1
                self._break_connections()
                return
            there.write(data)
            await there.drain()
        there.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def proxy_to(server: WorkflowEnvironment) -> AsyncIterator[Proxy]:
    """A proxy to a Temporal server, for as long as the block runs."""
    host, port = server.client.service_client.config.target_host.split(":")
    proxy = Proxy(host, int(port))
    await proxy.restore()
    try:
        yield proxy
    finally:
        await proxy.cut()
