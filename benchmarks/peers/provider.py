"""The model of all peers: OpenAI's chat protocol over HTTP, without latency, with a journal of the calls.

It answers every message with the same sixty characters, streamed or in one piece as the client asks, and keeps
connections open. It runs in the process of the benchmark, which only waits while a peer is measured.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal
from uuid import uuid4

from benchmarks.peers.interface import MODEL, REPLY, TOOL, TOOL_MESSAGE, TOOL_PATH

PaidCall = Literal["reply", "tool_call", "reply_after_tool", "look_up"]
LOOPBACK = "127.0.0.1"
USAGE = {"prompt_tokens": 20, "completion_tokens": 15, "total_tokens": 35}
MAX_HEAD = 2**16


class Provider:
    """Answers requests; `journal` counts them by kind."""

    def __init__(self) -> None:
        self.url = ""
        self.journal: Counter[PaidCall] = Counter()
        self.last_messages: list[dict[str, Any]] = []  # Any: what another program wrote
        """The messages of the newest request."""
        self._held = asyncio.Event()
        self._released = asyncio.Event()
        self._released.set()

    def hold(self) -> None:
        """Stop the next reply after a tool call in its middle, until `release`."""
        self._held.clear()
        self._released.clear()

    def release(self) -> None:
        """Complete held replies, and those that come."""
        self._released.set()

    async def holding(self) -> None:
        """Wait until half of a held reply has been sent."""
        await self._held.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client closes it."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                path, body = await _request(reader)
                await (self._look_up(writer) if path == TOOL_PATH else self._answer(body, writer))
                await writer.drain()
        writer.close()

    async def _look_up(self, writer: asyncio.StreamWriter) -> None:
        self.journal["look_up"] += 1
        _send_json(writer, {"price": 12})

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        request = json.loads(body)
        self.last_messages = request["messages"]
        kind = _kind(request)
        self.journal[kind] += 1
        message = _tool_call(f"call_{uuid4().hex[:8]}") if kind == "tool_call" else _text()
        reason = "tool_calls" if kind == "tool_call" else "stop"
        head, rest = _streamed(message, reason) if request.get("stream") else _whole(message, reason)
        if kind == "reply_after_tool" and not self._released.is_set():
            writer.write(head)
            await writer.drain()
            self._held.set()
            await self._released.wait()
            writer.write(rest)
        else:
            writer.write(head + rest)


@asynccontextmanager
async def running_provider() -> AsyncIterator[Provider]:
    """A provider on a free port for the duration of the block."""
    provider = Provider()
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await provider.serve(reader, writer)
        finally:
            connections.discard(task)

    server = await asyncio.start_server(serve, LOOPBACK, 0, limit=MAX_HEAD)
    provider.url = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield provider
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Path and body of the next request of a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    return first.split(" ")[1], await reader.readexactly(int(headers.get("content-length", "0")))


def _kind(request: dict[str, Any]) -> PaidCall:
    last = request["messages"][-1]
    if last["role"] == "tool":
        return "reply_after_tool"
    return "tool_call" if request.get("tools") and TOOL_MESSAGE in json.dumps(last["content"]) else "reply"


def _text() -> dict[str, object]:
    return {"role": "assistant", "content": REPLY}


def _tool_call(call_id: str) -> dict[str, object]:
    call = {"id": call_id, "type": "function", "function": {"name": TOOL, "arguments": '{"thing": "the blue one"}'}}
    return {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]}


def _whole(message: dict[str, object], reason: str) -> tuple[bytes, bytes]:
    """A reply that is not streamed, split into two halves of its bytes."""
    choice = {"index": 0, "message": message, "finish_reason": reason}
    body = json.dumps({**_head("chat.completion"), "choices": [choice], "usage": USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    return head + body[: len(body) // 2], body[len(body) // 2 :]


def _streamed(delta: dict[str, object], reason: str) -> tuple[bytes, bytes]:
    """A reply as a stream: its text, then its end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    end = _event([{"index": 0, "delta": {}, "finish_reason": reason}]) + _event([], USAGE) + _chunk(b"data: [DONE]\n\n")
    return head + _event([{"index": 0, "delta": delta, "finish_reason": None}]), end + b"0\r\n\r\n"


def _event(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
    body = {**_head("chat.completion.chunk"), "choices": choices, "usage": usage}
    return _chunk(f"data: {json.dumps(body)}\n\n".encode())


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _head(kind: str) -> dict[str, object]:
    return {"id": "reply", "object": kind, "created": 0, "model": MODEL}


def _send_json(writer: asyncio.StreamWriter, value: object) -> None:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
