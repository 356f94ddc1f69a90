"""The HTTP transport of an MCP session: it adds the URL and credentials that the MCP library must not see."""

from collections.abc import AsyncIterator

import httpx2

from activities.network.http_responses import retry_after
from activities.tool_clients.interface import ToolFailed
from activities.tool_clients.requests import ToolRequest
from activities.tool_clients.responses import check_encoding

MAX_RESPONSE_BYTES = 1_048_576
"""Upper bound on the body of one response."""
CLOSE_TIMEOUT = httpx2.Timeout(2.0)
"""Timeout of the request that closes a session; its response is not needed."""


class McpTransport(httpx2.AsyncBaseTransport):
    """An HTTP transport for one server that replaces each request's URL and headers with those of `request`.

    So the library never sees credentials and cannot log or raise them. The transport keeps the errors that the
    library hides: `failure`, an exception raised here, and `error_response`, the status and `retry-after` of the
    latest message if the server rejected it.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport, request: ToolRequest) -> None:
        self._transport = transport
        self._request = request
        url = httpx2.URL(request.url)
        self.shown_url = str(url.copy_with(raw_path=b"/", userinfo=b"", fragment=None))
        self.failure: Exception | None = None
        self.error_response: tuple[int, float | None] | None = None

    def client(self, timeout_seconds: float) -> httpx2.AsyncClient:
        """An HTTP client over this transport, without redirects and without settings from the environment."""
        timeout = httpx2.Timeout(timeout_seconds)
        return httpx2.AsyncClient(transport=self, timeout=timeout, max_redirects=0, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        own = self._request.headers
        replaced = {name for name, _ in own}
        others = [(name, value) for name, value in request.headers.raw if name.lower() not in replaced]
        extensions = dict(request.extensions)
        if request.method == "DELETE":
            extensions["timeout"] = CLOSE_TIMEOUT.as_dict()
        sent = httpx2.Request(
            request.method,
            self._request.url,
            headers=[*others, *own],
            stream=request.stream,
            extensions=extensions,
        )
        try:
            response = await self._transport.handle_async_request(sent)
            check_encoding(response)
        except Exception as error:
            self._record_failure(request, error)
            raise
        if request.method == "POST":
            is_error = response.status_code >= 300
            self.error_response = (response.status_code, retry_after(response.headers)) if is_error else None
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_LimitedStream(response, self, request),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Do nothing: all tools share the connections."""

    def _record_failure(self, request: httpx2.Request, error: Exception) -> None:
        """Keep the error of a message; the notification stream and the closing request may fail."""
        if request.method == "POST" and self.failure is None:
            self.failure = error

    async def limited_body(self, response: httpx2.Response, request: httpx2.Request) -> AsyncIterator[bytes]:
        """The bytes of a response. Raises ToolFailed if there are more than MAX_RESPONSE_BYTES."""
        size = 0
        try:
            if not isinstance(response.stream, httpx2.AsyncByteStream):
                raise TypeError("an asynchronous transport gave a synchronous response")
            async for part in response.stream:
                size += len(part)
                if size > MAX_RESPONSE_BYTES:
                    raise ToolFailed("too_large", f"The server answered with more than {MAX_RESPONSE_BYTES:,} bytes.")
                yield part
        except Exception as error:
            self._record_failure(request, error)
            raise


class _LimitedStream(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response, transport: McpTransport, request: httpx2.Request) -> None:
        self._response = response
        self._transport = transport
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._transport.limited_body(self._response, self._request):
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()
