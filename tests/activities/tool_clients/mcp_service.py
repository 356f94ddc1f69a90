"""A local MCP server for tests, with tools, injected faults and a journal of requests."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Scope], Any]


@dataclass(frozen=True)
class McpRequest:
    """One HTTP request: its method, its query, its headers in lower case, and the JSON-RPC message it carried."""

    http_method: str
    query: str
    headers: dict[str, str]
    message: dict[str, Any]

    @property
    def method(self) -> str:
        return str(self.message.get("method", ""))


@dataclass
class McpService:
    """A test's view of the server. `faults` lists statuses by JSON-RPC method, returned one after the other."""

    url: str = ""
    journal: list[McpRequest] = field(default_factory=list)
    faults: dict[str, list[int]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    legacy: bool = False

    def requests(self, method: str) -> list[McpRequest]:
        return [each for each in self.journal if each.method == method]

    def wrap(self, app: Any) -> Any:
        """Wrap the application with the journal and the faults."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            body = await _body(receive)
            headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
            request = McpRequest(scope["method"], scope["query_string"].decode(), headers, json.loads(body or b"{}"))
            self.journal.append(request)
            if self.legacy and request.method == "server/discover":
                await _respond(send, 400)
            elif statuses := self.faults.get(request.method):
                await _respond(send, statuses.pop(0), self.headers)
            else:
                await app(scope, _replayed(body, receive), send)

        return answer


def crm(service: McpService) -> MCPServer:
    """A server with one tool for each case."""
    server = MCPServer("crm")

    @server.tool(description="Finds a customer by name.")
    def find(name: str) -> str:
        return f"{name} is customer 7."

    @server.tool(annotations=ToolAnnotations(idempotent_hint=True))
    async def patient(name: str) -> str:
        await service.hold.wait()
        return name

    @server.tool()
    async def slow(name: str) -> str:
        await service.hold.wait()
        return name

    @server.tool()
    def broken() -> str:
        raise ToolError("the customer is locked")

    @server.tool(name="tools/rich.v1")
    def rich() -> CallToolResult:
        image = ImageContent(type="image", data="aGVsbG8=", mime_type="image/png")
        return CallToolResult(content=[TextContent(type="text", text="Two \x00 parts."), image])

    @server.tool()
    def structured() -> dict[str, int]:
        return {"customers": 7}

    @server.tool()
    def large() -> str:
        return "x" * 2_000_000

    @server.tool()
    def long() -> str:
        return "y" * 20_000

    return server


@asynccontextmanager
async def mcp_service() -> AsyncIterator[McpService]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    service = McpService()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service.url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        app = service.wrap(crm(service).streamable_http_app())
        server = _Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield service
        finally:
            service.hold.set()
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers of the test run alone."""
        yield


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body, which was read already, again."""
    given = False

    async def replay() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _respond(send: Send, status: int, headers: dict[str, str] | None = None) -> None:
    pairs = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": b""})
