"""The egress guard: tools connect to public addresses and allowlisted ones only, checked for every connection."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import NoReturn

import httpcore2
import httpx2

from activities.network.egress_policy import EgressPolicy, canonical
from store.database.daemon_threads import in_daemon_thread

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Turns a host and a port into addresses, best first; raises OSError."""
SocketOptions = Iterable[httpcore2.SOCKET_OPTION]

MAX_CONNECTIONS = 200
MAX_IDLE_CONNECTIONS = 20
IDLE_CONNECTION_SECONDS = 5.0


class EgressDenied(Exception):
    """A connection to an address that tools may not reach. The message is for the operator."""


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Addresses from the system's resolver, which also parses forms such as 2130706433 or 0x7f.1.

    Each name has a thread of its own: a loop's own threads are few, and a slow name would hold up all others.
    """
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await in_daemon_thread(look_up, name="resolver")
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class EgressGuard:
    """Makes connections to public addresses, and to those of the `allowlist`.

    A host is resolved once, and the connection is made to a checked address, so DNS rebinding has no effect. Proxies
    of the environment are not used. Raises ValueError for an invalid entry of the `allowlist`.
    """

    def __init__(self, allowlist: Iterable[str] = (), *, resolve: Resolver = system_resolver) -> None:
        self._policy = EgressPolicy(allowlist)
        self._resolve = resolve

    @cached_property
    def transport(self) -> httpx2.AsyncBaseTransport:
        """The connection pool of all tools, without cookies, redirects and proxies."""
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_CONNECTION_SECONDS,
            network_backend=_GuardedBackend(self),
        )
        return _GuardedTransport(pool)

    async def close(self) -> None:
        """Close all connections."""
        if "transport" in self.__dict__:
            await self.transport.aclose()

    async def allowed_addresses(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of a host that tools may connect to, in the resolver's order.

        Raises EgressDenied if all addresses are denied, httpcore2.ConnectError if there are none.
        """
        try:
            found = [canonical(address) for address in await self._resolve(host, port)]
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"the host name could not be resolved: {error}") from error
        denials = {address: self._policy.denial_reason(host, address, port) for address in found}
        allowed = tuple(str(address) for address, reason in denials.items() if reason is None)
        if denials and not allowed:
            address, reason = next(iter(denials.items()))
            raise EgressDenied(
                f"{host}:{port} is {address}, which is {reason}: tools reach public addresses only. If this service "
                "is meant, add it to the setting of addresses that tools may reach."
            )
        if not allowed:
            raise httpcore2.ConnectError("the host name has no address")
        return allowed


def check_url(url: httpx2.URL) -> None:
    """Raises EgressDenied for a URL that tools may not use, whatever its host resolves to."""
    if url.scheme not in ("http", "https"):
        raise EgressDenied(f"{url.scheme or 'no scheme'}: tools use http and https only")
    if url.userinfo:
        raise EgressDenied("a URL with a user name or password in it; credentials belong into headers")
    if not url.host:
        raise EgressDenied("a URL without a host")


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to checked addresses. TLS still verifies the certificate against the host's name."""

    def __init__(self, guard: EgressGuard) -> None:
        self._guard = guard
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is the library's
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._guard.allowed_addresses(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the host name was not resolved in time") from error
        timeout_per_address = timeout and timeout / len(
            addresses
        )  # one that does not answer must not use up the others' time
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout_per_address, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError("the host name has no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is the library's
        socket_options: SocketOptions | None = None,
    ) -> NoReturn:
        raise EgressDenied("a socket of this machine: tools use the network only")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _GuardedTransport(httpx2.AsyncBaseTransport):
    """An httpx transport over the guarded pool, built from public APIs of httpcore and httpx."""

    def __init__(self, pool: httpcore2.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        check_url(request.url)
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        sent = httpcore2.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _httpx_exceptions():
            answer = await self._pool.handle_async_request(sent)
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=_ResponseStream(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _ResponseStream(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_exceptions():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _httpx_exceptions() -> Iterator[None]:
    """Convert httpcore's exceptions to those of the same name in httpx."""
    try:
        yield
    except (
        httpcore2.TimeoutException,
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.ProxyError,
        httpcore2.UnsupportedProtocol,
    ) as error:
        known = getattr(httpx2, type(error).__name__, httpx2.TransportError)
        raise known(str(error)) from error
