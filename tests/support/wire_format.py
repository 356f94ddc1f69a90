"""OpenAI's chat protocol for the tests' model provider: parsing of requests, encoding of replies."""

import asyncio
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal
from uuid import uuid4


class Stream:
    """A reply on the wire: an HTTP response whose body is a stream of events, in chunks."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def begin(self) -> None:
        await self._write(_head(HTTPStatus.OK, "text/event-stream", "transfer-encoding: chunked"))

    async def send(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        await self._write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    async def finish(self, reason: Literal["stop", "tool_calls"], prompt_tokens: int, completion_tokens: int) -> None:
        await self.send(_chunk([{"index": 0, "delta": {}, "finish_reason": reason}]))
        await self.send(_chunk([], _usage(prompt_tokens, completion_tokens)))
        await self.end()

    async def answer(self, body: str) -> None:
        """Send an answer in one piece, to a client that did not ask for a stream."""
        data = body.encode()
        await self._write(_head(HTTPStatus.OK, "application/json", f"content-length: {len(data)}") + data)

    async def end(self) -> None:
        await self.send("[DONE]")
        await self._write(b"0\r\n\r\n")

    async def cut(self) -> None:
        self._writer.transport.abort()

    async def fail(self, status: int, message: str, retry_after: float | None = None) -> None:
        body = json.dumps({"error": {"message": message, "type": "scripted"}}).encode()
        extra = [f"content-length: {len(body)}"]
        if retry_after is not None:
            extra.append(f"retry-after: {retry_after:g}")
        await self._write(_head(status, "application/json", *extra) + body)

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    """The path of a request and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.split(" ")[1], json.loads(body) if body else {}


def _head(status: int, content_type: str, *extra: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-type: {content_type}", *extra]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode()


def delta(**parts: object) -> str:
    """A piece of a reply."""
    return _chunk([{"index": 0, "delta": {"role": "assistant", **parts}, "finish_reason": None}])


def tool_calls_of(calls: Sequence[tuple[str, str]]) -> list[dict[str, object]]:
    """Calls of tools, each with its name and its arguments as they are written."""
    return [
        {
            "index": index,
            "id": f"call_{uuid4().hex[:8]}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        for index, (name, arguments) in enumerate(calls)
    ]


def completion(text: str, calls: Sequence[tuple[str, str]], prompt_tokens: int, completion_tokens: int) -> str:
    """A reply in one piece."""
    message: dict[str, object] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = tool_calls_of(calls)
    head = {"id": "reply", "object": "chat.completion", "created": 0, "model": "scripted"}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return json.dumps({**head, "choices": [choice], "usage": _usage(prompt_tokens, completion_tokens)})


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _chunk(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> str:
    head = {"id": "reply", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
    return json.dumps({**head, "choices": choices, "usage": usage})
