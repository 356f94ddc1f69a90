"""Server-sent event responses: their format, and the dropping of slow clients."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from starlette.types import Message

from api.http.sse import EventStream, format_event, start_stream
from api.schemas.events import ReplyDelta

WRITE_TIMEOUT = 1.0


async def two_events() -> AsyncGenerator[bytes]:
    yield b"first"
    yield b"second"


def sender(*seconds: float) -> tuple[list[bytes], Callable[[Message], Awaitable[None]]]:
    """A client that takes each message after a pause of so many seconds; returns what it has taken, and its `send`."""
    taken: list[bytes] = []
    pauses = list(seconds)

    async def send(message: Message) -> None:
        await asyncio.sleep(pauses.pop(0) if pauses else 0)
        taken.append(message.get("body", b""))

    return taken, send


def test_an_event_has_a_type_data_on_one_line_and_its_number() -> None:
    delta = ReplyDelta(turn_id="turn_1", text="one\ntwo")
    assert (
        format_event("reply_delta", delta) == b'event: reply_delta\ndata: {"turn_id":"turn_1","text":"one\\ntwo"}\n\n'
    )
    assert format_event("rewound", "{}", 7) == b"event: rewound\ndata: {}\nid: 7\n\n"


async def test_an_error_before_the_first_event_is_raised_and_not_sent() -> None:
    async def refused(*, is_refused: bool = True) -> AsyncGenerator[bytes]:
        if is_refused:
            raise LookupError("refused")
        yield b""

    with pytest.raises(LookupError):
        await start_stream(refused())


async def test_a_reading_client_receives_everything() -> None:
    taken, send = sender()
    await EventStream(await start_stream(two_events()), write_timeout=WRITE_TIMEOUT).stream_response(send)
    assert b"".join(taken) == b"firstsecond"


async def test_a_stalled_client_that_resumes_receives_the_reason_it_is_dropped() -> None:
    taken, send = sender(0, 1.3 * WRITE_TIMEOUT)
    await EventStream(await start_stream(two_events()), write_timeout=WRITE_TIMEOUT).stream_response(send)
    assert taken[1] == b"first"
    assert taken[-1] == (b": dropped: this client read nothing for 1 seconds; connect again with Last-Event-ID\n\n")


async def test_a_stalled_client_loses_the_connection() -> None:
    taken, send = sender(0, 60)
    await EventStream(await start_stream(two_events()), write_timeout=0.05).stream_response(send)
    assert taken == [b""], "only the head of the answer was taken"


async def test_the_event_source_is_closed_when_the_client_is_gone() -> None:
    is_open = True

    async def events() -> AsyncGenerator[bytes]:
        nonlocal is_open
        try:
            while True:
                yield b"again"
        finally:
            is_open = False

    async def send(message: Message) -> None:
        if message.get("body"):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await EventStream(await start_stream(events()), write_timeout=WRITE_TIMEOUT).stream_response(send)
    assert not is_open
