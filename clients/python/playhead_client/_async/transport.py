"""The connection of the async client: sends calls, retries them where that is safe, and resumes streams."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from playhead_client.calls import Call, Listing
from playhead_client.endpoint import Endpoint
from playhead_client.errors import PlayheadError
from playhead_client.events import Event, EventReader
from playhead_client.retries import RetryPolicy
from playhead_client.stream_position import StreamPosition

Result = TypeVar("Result")
Item = TypeVar("Item")


class AsyncTransport:
    """Sends calls to one API and returns their results, or raises PlayheadError."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float,
        retries: RetryPolicy,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._endpoint = endpoint
        self._http = httpx2.AsyncClient(**endpoint.client_options(timeout))
        self._retries = retries
        self._sleep = sleep

    async def send(self, call: Call[Result]) -> Result:
        """Send a call, retry it after errors where that is safe, and return its result."""
        attempt = 1
        while True:
            try:
                return self._endpoint.result(call, await self._response(call))
            except PlayheadError as error:
                await self._pause(error, attempt, repeatable=call.repeatable)
            attempt += 1

    async def items(self, listing: Listing[Item]) -> AsyncIterator[Item]:
        """Yield the items of a list; each page is requested when it is needed."""
        cursor, seen = None, 0
        while call := listing.page(cursor, seen):
            page = await self.send(call)
            for item in page.items:
                yield item
            cursor, seen = page.next_cursor, seen + len(page.items)
            if cursor is None:
                return

    async def follow(self, position: StreamPosition) -> AsyncGenerator[Event]:
        """Yield the events of a stream after a position, over as many connections as it takes."""
        failures = 0
        while not position.is_over:
            try:
                async with aclosing(self._connection(position)) as events:
                    async for event in events:
                        failures = 0
                        yield event
            except PlayheadError as error:
                failures += 1
                await self._pause(error, failures, repeatable=True)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _connection(self, position: StreamPosition) -> AsyncGenerator[Event]:
        """Yield the events of one connection. Raises PlayheadError when it ends before the stream is over."""
        call, reader = position.request(), EventReader()
        timeout = self._http.timeout if position.read_timeout is None else httpx2.Timeout(position.read_timeout)
        try:
            async with self._http.sse(
                call.path,
                method=call.method,
                params=call.query,
                content=call.content,
                headers=call.headers,
                timeout=timeout,
                max_event_size=None,
            ) as source:
                if not source.response.is_success:
                    await source.response.aread()
                    raise self._endpoint.error(call, source.response)
                if source.response.status_code == HTTPStatus.NO_CONTENT:
                    position.is_over = True
                    return
                async for sent in source:
                    event = position.take(self._endpoint.event(call, reader, sent))
                    if event is not None:
                        yield event
        except httpx2.TransportError as error:
            raise self._endpoint.connection_error(call, error) from error
        if position.session_call is not None and not position.is_over:
            position.stream_ended(await self.send(position.session_call))
        if not position.is_over:
            raise self._endpoint.stream_interrupted()

    async def _response(self, call: Call[Result]) -> httpx2.Response:
        try:
            return await self._http.request(
                call.method, call.path, params=call.query, content=call.content, headers=call.headers
            )
        except httpx2.TransportError as error:
            raise self._endpoint.connection_error(call, error) from error

    async def _pause(self, error: PlayheadError, attempt: int, *, repeatable: bool) -> None:
        """Wait before the next attempt. Raises the error when there is none."""
        pause = self._retries.pause_after(error, attempt, repeatable=repeatable)
        if pause is None:
            raise error
        await self._sleep(pause)


class AsyncResource:
    """A group of calls about one subject."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport


class AsyncEventStream:
    """An iterator over the events of a session or of one reply: each once and in order, even after a reconnect.

    The request is sent when the first event is requested. After an error, and after `aclose`, iterating again resumes
    after the last event.
    """

    def __init__(self, transport: AsyncTransport, position: StreamPosition) -> None:
        self._transport = transport
        self._position = position
        self._events: AsyncGenerator[Event] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._events is None:
            self._events = self._transport.follow(self._position)
        try:
            return await anext(self._events)
        except BaseException:
            self._events = None  # this iterator has ended; a new one resumes after the last event
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        events, self._events = self._events, None
        if events is not None:
            await events.aclose()
