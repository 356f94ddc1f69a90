"""The connection to an MCP server: its library speaks to a stand-in, the credentials are put in on the way out."""

from collections.abc import AsyncIterator

import httpx2

from activities.network.http_responses import retry_after
from activities.tool_clients.interface import ToolFailed
from activities.tool_clients.requests import ToolRequest
from activities.tool_clients.responses import check_encoding

MAX_BYTES = 1_048_576
"""What one answer of a server may hold."""
MAX_GOODBYE = httpx2.Timeout(2.0)
"""A session that is over is closed by a request whose answer nobody needs."""


class McpTransport(httpx2.AsyncBaseTransport):
    """A transport for one server. It sends the address and the headers of `request` in place of those it is given.

    So no credential is in anything the library logs or raises. It keeps what went wrong, which the library hides:
    `failure` when an answer was not let through, and `refusal`, the newest answer to a message that was no success.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport, request: ToolRequest) -> None:
        self._transport = transport
        self._request = request
        url = httpx2.URL(request.url)
        self.shown_url = str(url.copy_with(raw_path=b"/", userinfo=b"", fragment=None))
        self.failure: Exception | None = None
        self.refusal: tuple[int, float | None] | None = None

    def client(self, timeout_seconds: float) -> httpx2.AsyncClient:
        """A client that follows no redirect and takes nothing from the environment."""
        timeout = httpx2.Timeout(timeout_seconds)
        return httpx2.AsyncClient(transport=self, timeout=timeout, max_redirects=0, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        own = self._request.headers
        replaced = {name for name, _ in own}
        others = [(name, value) for name, value in request.headers.raw if name.lower() not in replaced]
        extensions = dict(request.extensions)
        if request.method == "DELETE":
            extensions["timeout"] = MAX_GOODBYE.as_dict()
        sent = httpx2.Request(
            request.method,
            self._request.url,
            headers=[*others, *own],
            stream=request.stream,
            extensions=extensions,
        )
        try:
            answer = await self._transport.handle_async_request(sent)
            check_encoding(answer)
        except Exception as error:
            self._note(request, error)
            raise
        if request.method == "POST":
            refused = answer.status_code >= 300
            self.refusal = (answer.status_code, retry_after(answer.headers)) if refused else None
        return httpx2.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Limited(answer, self, request),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Nothing: the connections belong to all tools."""

    def _note(self, request: httpx2.Request, error: Exception) -> None:
        """Only messages matter: the stream of notifications may break off, and so may the goodbye."""
        if request.method == "POST" and self.failure is None:
            self.failure = error

    async def parts_of(self, answer: httpx2.Response, request: httpx2.Request) -> AsyncIterator[bytes]:
        """The bytes of an answer, as many as it may hold."""
        size = 0
        try:
            if not isinstance(answer.stream, httpx2.AsyncByteStream):
                raise TypeError("an asynchronous transport gave a synchronous answer")
            async for part in answer.stream:
                size += len(part)
                if size > MAX_BYTES:
                    raise ToolFailed("too_large", f"The server answered with more than {MAX_BYTES:,} bytes.")
                yield part
        except Exception as error:
            self._note(request, error)
            raise


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, answer: httpx2.Response, channel: McpTransport, request: httpx2.Request) -> None:
        self._answer = answer
        self._channel = channel
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._channel.parts_of(self._answer, self._request):
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()
