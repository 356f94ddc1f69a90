"""A model provider that records when it sends its first token: OpenAI's chat protocol, streaming only."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

FIRST_TOKEN_SECONDS = 0.1
REST_SECONDS = 0.2
"""Delay before the first token, and between that and the rest."""
MODEL = "openai-chat:provider"


class TimedProvider:
    """Answers each request with two words. `first_token_at` has the time of the first, by the user's last message."""

    def __init__(self) -> None:
        self.base_url = ""
        self.first_token_at: dict[str, float] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        request: dict[str, Any] = json.loads(await reader.readexactly(length))
        messages = [message["content"] for message in request["messages"] if message["role"] == "user"]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        await asyncio.sleep(FIRST_TOKEN_SECONDS)
        self.first_token_at[messages[-1]] = time.perf_counter()
        writer.write(_chunk(content="Well, "))
        await asyncio.sleep(REST_SECONDS)
        writer.write(_chunk(content="certainly.") + _chunk(reason="stop") + b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def timed_provider() -> AsyncIterator[TimedProvider]:
    """A provider on a free port for the duration of the block."""
    provider = TimedProvider()
    server = await asyncio.start_server(provider.answer, "127.0.0.1", 0)
    async with server:
        provider.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield provider


def _chunk(content: str = "", reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": reason}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11} if reason else None
    head = {"id": "reply", "object": "chat.completion.chunk", "created": 0, "model": "provider"}
    return f"data: {json.dumps({**head, 'choices': [choice], 'usage': usage})}\n\n".encode()
