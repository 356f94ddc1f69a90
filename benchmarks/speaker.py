"""A model provider that notes when it says its first word: OpenAI's chat protocol, streamed, and no more of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

THINKS_SECONDS = 0.1
SPEAKS_SECONDS = 0.2
"""Before its first word, and between that and the rest."""
MODEL = "openai-chat:speaker"


class Speaker:
    """Answers every request with two words. `spoke_at` holds when the first was sent, by the user's last message."""

    def __init__(self) -> None:
        self.base_url = ""
        self.spoke_at: dict[str, float] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        asked: dict[str, Any] = json.loads(await reader.readexactly(length))
        said = [message["content"] for message in asked["messages"] if message["role"] == "user"]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        await asyncio.sleep(THINKS_SECONDS)
        self.spoke_at[said[-1]] = time.perf_counter()
        writer.write(_chunk(content="Well, "))
        await asyncio.sleep(SPEAKS_SECONDS)
        writer.write(_chunk(content="certainly.") + _chunk(reason="stop") + b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def speaking() -> AsyncIterator[Speaker]:
    """A speaker on a free port of this machine while the block runs."""
    speaker = Speaker()
    server = await asyncio.start_server(speaker.answer, "127.0.0.1", 0)
    async with server:
        speaker.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield speaker


def _chunk(content: str = "", reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": reason}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11} if reason else None
    head = {"id": "reply", "object": "chat.completion.chunk", "created": 0, "model": "speaker"}
    return f"data: {json.dumps({**head, 'choices': [choice], 'usage': usage})}\n\n".encode()
