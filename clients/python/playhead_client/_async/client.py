"""The async client."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from playhead_client._async.agents import AsyncAgents
from playhead_client._async.documents import AsyncDocuments
from playhead_client._async.sessions import AsyncSessions
from playhead_client._async.suites import AsyncSuites
from playhead_client._async.transport import AsyncTransport
from playhead_client._async.usage import AsyncUsage
from playhead_client.endpoint import DEFAULT_TIMEOUT, Endpoint
from playhead_client.retries import RetryPolicy


class AsyncPlayhead:
    """A client of one API: `async with AsyncPlayhead() as playhead: await playhead.sessions.open("booking-line")`.

    Address and key default to those of the environment (PLAYHEAD_API_URL, PLAYHEAD_API_KEY), and then to the local
    stack's. A response may take at most `timeout` seconds. Every method raises PlayheadError; its subclasses
    distinguish the causes.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        endpoint = Endpoint.of(url, key)
        self.url = endpoint.url
        self._transport = AsyncTransport(endpoint, timeout=timeout, retries=retries or RetryPolicy(), sleep=sleep)
        self.sessions = AsyncSessions(self._transport)
        self.agents = AsyncAgents(self._transport)
        self.documents = AsyncDocuments(self._transport)
        self.suites = AsyncSuites(self._transport)
        self.usage = AsyncUsage(self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the client accepts no further calls."""
        await self._transport.aclose()
