"""Server-sent events: their text format, and the streaming response that drops clients which stop reading."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from typing import Final

import structlog
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api.http.revocation import KEY_SCOPE, KeyRevoked, StreamRevocation

EVENT_STREAM: Final = "text/event-stream"
KEEPALIVE: Final = format_sse_event(comment="still here")
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Keep proxies from buffering events."""

log = structlog.get_logger("api.events")


def format_event(kind: str, data: BaseModel | str | bytes, sequence: int | None = None) -> bytes:
    """One event in the text format of server-sent events. Durable events carry their sequence number as `id`."""
    text = data if isinstance(data, str) else data.decode() if isinstance(data, bytes) else data.model_dump_json()
    return format_sse_event(event=kind, data_str=text, id=None if sequence is None else str(sequence))


class StartedStream(AsyncIterator[bytes]):
    """A stream of encoded events whose first event is available.

    `on_client_left` is called once if the client closes the connection before the end.
    """

    def __init__(
        self, first: bytes, events: AsyncGenerator[bytes], *, on_client_left: Callable[[], None] | None = None
    ) -> None:
        self._first: bytes | None = first
        self._events = events
        self._on_client_left = on_client_left

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return await anext(self._events)
        except StopAsyncIteration:
            self._on_client_left = None
            raise

    def note_client_left(self) -> None:
        """Note that the client has closed the connection."""
        on_client_left, self._on_client_left = self._on_client_left, None
        if on_client_left is not None:
            on_client_left()

    async def aclose(self) -> None:
        """Close the source of the events."""
        await self._events.aclose()


async def start_stream(
    events: AsyncGenerator[bytes], *, on_client_left: Callable[[], None] | None = None
) -> StartedStream:
    """Wait for the first event. Errors before it are raised here, so that the response can still be an error."""
    return StartedStream(await anext(events), events, on_client_left=on_client_left)


class SlowClient(Exception):
    """Raised when a client read nothing for too long."""


class EventStream(StreamingResponse):
    """Sends events as they come, and drops a client that reads nothing for `write_timeout` seconds.

    A client that reads again within twice that time gets the reason in a last comment; otherwise the connection is
    closed.
    """

    media_type = EVENT_STREAM

    def __init__(
        self, events: StartedStream, *, write_timeout: float, revocation: StreamRevocation | None = None
    ) -> None:
        super().__init__(events, headers=HEADERS)
        self._events = events
        self._write_timeout = write_timeout
        self._revocation = revocation
        self._key: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response to a request, which has the key in its scope."""
        self._key = scope.get(KEY_SCOPE)

        async def receive_and_note() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._events.note_client_left()
            return message

        await super().__call__(scope, receive_and_note, send)

    async def stream_response(self, send: Send) -> None:
        """Send everything, unless the client stops reading or its key is revoked."""

        async def send_in_time(message: Message) -> None:
            started = asyncio.get_running_loop().time()
            async with asyncio.timeout(2 * self._write_timeout):
                await send(message)
            if asyncio.get_running_loop().time() - started > self._write_timeout:
                raise SlowClient

        try:
            async with aclosing(self._events), self._guarded():
                await super().stream_response(send_in_time)
        except KeyRevoked:
            log.info("stream closed", reason="the API key was revoked")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._write_timeout):
                    await send(_closing_comment("closed: the API key was revoked"))
        except (SlowClient, TimeoutError) as error:
            reason = f"dropped: this client read nothing for {self._write_timeout:g} seconds"
            log.warning("client dropped", reason=reason)
            if isinstance(error, SlowClient):
                await send(_closing_comment(f"{reason}; connect again with Last-Event-ID"))

    def _guarded(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._revocation is None else self._revocation.guarded(self._key)


def _closing_comment(reason: str) -> Message:
    """The end of a response, with the reason as a comment."""
    return {"type": "http.response.body", "body": format_sse_event(comment=reason), "more_body": False}


def accepts_event_stream(accept: str | None) -> bool:
    """True when a client accepts a stream of events."""
    return EVENT_STREAM in (accept or "").lower()
