"""Server-sent events: their form on the wire, and the answer that carries them as long as the client takes them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

import structlog
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT: Final = format_sse_event(comment="still here")
HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Nobody on the way may keep events back."""

log = structlog.get_logger("api.events")


def format_event(kind: str, data: BaseModel | str | bytes, sequence: int | None = None) -> bytes:
    """One event on the wire. Durable events carry their number in the session's log."""
    text = data if isinstance(data, str) else data.decode() if isinstance(data, bytes) else data.model_dump_json()
    return format_sse_event(event=kind, data_str=text, id=None if sequence is None else str(sequence))


def received(piece: bytes) -> tuple[str, str] | None:
    """The type and the data of an event as `format_event` wrote it; none for a comment."""
    fields = dict(line.partition(": ")[::2] for line in piece.decode().split("\n"))
    return (fields["event"], fields["data"]) if "event" in fields else None


class StartedStream(AsyncIterator[bytes]):
    """Events of which the first is there already."""

    def __init__(self, first: bytes, events: AsyncGenerator[bytes]) -> None:
        self._first: bytes | None = first
        self._events = events

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._events)

    async def aclose(self) -> None:
        """Let go of what the events come from."""
        await self._events.aclose()


async def start_stream(events: AsyncGenerator[bytes]) -> StartedStream:
    """The same events, once the first is there. What goes wrong before it is raised here, and answered as an error."""
    return StartedStream(await anext(events), events)


class SlowClient(Exception):
    """A client took nothing for too long."""


class EventStream(StreamingResponse):
    """Sends events as they come. Who takes nothing for `patience` seconds is dropped.

    A client that wakes up in time reads why in the last comment; from another one the connection is taken.
    """

    media_type = EVENT_STREAM

    def __init__(self, events: StartedStream, *, patience: float) -> None:
        super().__init__(events, headers=HEADERS)
        self._events = events
        self._patience = patience

    async def stream_response(self, send: Send) -> None:
        """Send everything, unless the client stops taking it."""

        async def send_while_taken(message: Message) -> None:
            began = asyncio.get_running_loop().time()
            async with asyncio.timeout(2 * self._patience):
                await send(message)
            if asyncio.get_running_loop().time() - began > self._patience:
                raise SlowClient

        try:
            async with aclosing(self._events):
                await super().stream_response(send_while_taken)
        except (SlowClient, TimeoutError) as error:
            reason = f"dropped: this client took nothing for {self._patience:g} seconds"
            log.warning("a client was dropped", reason=reason)
            if isinstance(error, SlowClient):
                farewell = format_sse_event(comment=f"{reason}; connect again with Last-Event-ID")
                await send({"type": "http.response.body", "body": farewell, "more_body": False})


def accepts_event_stream(accept: str | None) -> bool:
    """Whether a client asks for a stream of events."""
    return EVENT_STREAM in (accept or "").lower()
