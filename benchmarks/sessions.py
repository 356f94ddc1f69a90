"""The measured side: chat sessions over HTTP, through a client with little overhead."""

import asyncio
import json
from urllib.parse import urlsplit

AGENT = {
    "name": "bench",
    "start": "talk",
    "nodes": {"talk": {"prompt": "Answer whatever the caller says.", "greeting": "Hello, how can I help?"}},
    "limits": {"max_turns": 100000},
    "max_context_tokens": 8_000,  # some two hundred turns: the model's input is bounded, however long the session
}


class Connection:
    """One keep-alive HTTP/1.1 connection, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head

    @classmethod
    async def open(cls, base_url: str, api_key: str) -> "Connection":
        address = urlsplit(base_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**22)
        head = f"Host: {address.netloc}\r\nAuthorization: Bearer {api_key}\r\nContent-Type: application/json\r\n"
        return cls(reader, writer, head)

    async def get(self, path: str) -> bytes:
        """The body of the response, as with `post`."""
        return await self._send("GET", path, b"")

    async def post(self, path: str, body: bytes) -> bytes:
        """Send JSON and return the body of the response. Raises RuntimeError for a status other than 200 and 201."""
        return await self._send("POST", path, body)

    async def _send(self, method: str, path: str, body: bytes) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        content = await self._reader.readexactly(length)
        status = int(answer.split(b" ", 2)[1])
        if status not in (200, 201):
            raise RuntimeError(f"{method} {path} answered {status}: {content.decode()[:500]}")
        return content

    def close(self) -> None:
        self._writer.close()


class Sessions:
    """Chat sessions as targets of the load, each with its own connection."""

    def __init__(self, ids: list[str], connections: list[Connection]) -> None:
        self.ids = ids
        self._connections = connections

    @classmethod
    async def open(cls, base_url: str, api_key: str, sessions: int) -> "Sessions":
        connections = [await Connection.open(base_url, api_key) for _ in range(sessions)]
        agent = json.loads(await connections[0].post("/v1/agents", json.dumps(AGENT).encode()))
        body = json.dumps({"agent": agent["id"]}).encode()
        ids = [json.loads(await each.post("/v1/sessions", body))["id"] for each in connections]
        return cls(ids, connections)

    async def say(self, session: int, text: str) -> None:
        """Send one message to a session; returns when the reply has arrived."""
        body = json.dumps({"text": text}).encode()
        await self._connections[session].post(f"/v1/sessions/{self.ids[session]}/messages", body)

    async def close(self) -> None:
        for session_id, connection in zip(self.ids, self._connections, strict=True):
            await connection.post(f"/v1/sessions/{session_id}/end", b"{}")
            connection.close()
