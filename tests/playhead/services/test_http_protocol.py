"""Limits on connections, over raw sockets: large heads, slow requests, and too many connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from playhead.services.api_server import listening_socket
from playhead.services.http_protocol import ConnectionLimits, limited_protocol
from tests.support.waiting import eventually


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body, or streams slowly."""
    request = Request(scope, receive)
    if request.url.path == "/stream":

        async def pieces() -> AsyncIterator[str]:
            for _ in range(5):
                yield "piece "
                await asyncio.sleep(0.2)

        await StreamingResponse(pieces())(scope, receive, send)
        return
    try:
        body = await request.body()
    except ClientDisconnect:
        return
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


@asynccontextmanager
async def server(limits: ConnectionLimits | None = None) -> AsyncIterator[int]:
    """The port of a server with these limits."""
    allowed = limits or ConnectionLimits()
    config = uvicorn.Config(application, http=limited_protocol(allowed), ws="none", lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    with listening_socket("127.0.0.1", 0) as listener:
        task = asyncio.create_task(running.serve(sockets=[listener]))

        async def started() -> bool:
            return running.started

        try:
            await eventually(started)
            yield listener.getsockname()[1]
        finally:
            running.should_exit = True
            await task
    assert not allowed.incomplete


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_to(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send these parts; returns all that the server sends until it closes the connection."""
    async with connection(port) as (reader, writer), asyncio.timeout(20):
        answer = asyncio.create_task(_everything(reader))
        for part in parts:
            if not answer.done():
                writer.write(part)
                await asyncio.sleep(pause)
        return await answer


async def _everything(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while piece := await reader.read(65_536):
            received += piece
    except ConnectionError:  # closed while the test was still sending
        pass
    return received


HEAD = b"POST /x HTTP/1.1\r\nhost: a\r\n"


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x: " + b"a" * 40_000 + b"\r\n\r\n",
        HEAD + b"x: " + b"a" * 40_000,  # has no end
        HEAD + b"x: a\r\n" * 101 + b"\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /" + b"a" * 40_000,
        b"GET / HTTP/1.1\r\n" + b"y" * 40_000,
    ],
    ids=["line", "endless line", "lines", "address", "endless address", "endless name"],
)
async def test_large_head_is_answered_with_431(head: bytes) -> None:
    async with server() as port:
        answer = await answer_to(port, head)
        assert answer.startswith(b"HTTP/1.1 431 "), answer[:200]
        assert b'"headers_too_large"' in answer
        for header in (b"x-request-id: req_", b"x-content-type-options: nosniff", b"cache-control: no-store"):
            assert header in answer.lower()


async def test_head_of_the_allowed_size_and_pipelined_requests_are_answered() -> None:
    async with server() as port:
        head = HEAD + b"x: " + b"a" * 30_000 + b"\r\n" + b"y: z\r\n" * 90 + b"content-length: 2\r\n"
        answer = await answer_to(port, head + b"\r\nab" + head + b"connection: close\r\n\r\nab")
        assert answer.count(b"2 bytes") == 2


async def test_bytes_that_are_not_http_are_answered_with_400() -> None:
    async with server() as port:
        assert (await answer_to(port, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_head_that_drips_is_answered_with_408() -> None:
    async with server(ConnectionLimits(head_seconds=0.3)) as port:
        answer = await answer_to(port, HEAD, *[b"x: y\r\n"] * 20, pause=0.1)
        assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1//responses/?x=1"])
async def test_connection_limits_are_answered_in_openais_format_below_its_paths(path: bytes) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\nhost: a\r\n"
    async with server(ConnectionLimits(head_seconds=0.3)) as port:
        for status, parts in ((431, [head + b"x: " + b"a" * 40_000]), (408, [head, *[b"x: y\r\n"] * 8])):
            answer = await answer_to(port, *parts, pause=0.1)
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert b"content-type: application/json\r\n" in answer


async def test_connection_without_a_request_is_closed() -> None:
    async with server(ConnectionLimits(first_byte_seconds=0.2)) as port:
        assert await answer_to(port) == b""


async def test_body_that_drips_is_answered_with_408() -> None:
    async with server(ConnectionLimits(body_seconds=0.4, min_body_rate=1_000)) as port:
        head = HEAD + b"content-length: 100000\r\n\r\n"
        answer = await answer_to(port, head, *[b"a"] * 30, pause=0.1)
        assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]


async def test_body_that_comes_slowly_but_steadily_is_taken() -> None:
    async with server(ConnectionLimits(body_seconds=0.4, min_body_rate=1_000)) as port:
        head = HEAD + b"connection: close\r\ncontent-length: 10000\r\n\r\n"
        answer = await answer_to(port, head, *[b"a" * 500] * 20, pause=0.1)
        assert b"10000 bytes" in answer


async def test_stream_and_idle_connection_outlast_all_deadlines() -> None:
    async with server(ConnectionLimits(head_seconds=0.2, body_seconds=0.2, first_byte_seconds=0.2)) as port:
        answer = await answer_to(port, b"GET /stream HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert answer.count(b"piece") == 5
        async with connection(port) as (reader, writer):
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                assert b"0 bytes" in await asyncio.wait_for(_until(reader, b"bytes"), 10)
                await asyncio.sleep(0.5)


async def test_half_sent_requests_give_way_to_whole_ones() -> None:
    async with server(ConnectionLimits(max_incomplete=5)) as port:
        half_sent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in half_sent:
            writer.write(HEAD)
        answer = await answer_to(port, HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nab")
        assert b"2 bytes" in answer
        for _, writer in half_sent:
            writer.close()


async def test_connections_over_the_limit_are_answered_with_503() -> None:
    async with server(ConnectionLimits(max_connections=3)) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        answer = await answer_to(port, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after" in answer.lower()
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert document["code"] == document["error"]["code"] == "unavailable", "the path is not known yet"
        for _, writer in held:
            writer.close()


async def _until(reader: asyncio.StreamReader, ending: bytes) -> bytes:
    return await reader.readuntil(ending)
