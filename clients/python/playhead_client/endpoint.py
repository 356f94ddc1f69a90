"""The API at an address: connection options, and the result or error in each of its responses."""

import os
from dataclasses import dataclass
from typing import Final, TypedDict, TypeVar
from urllib.parse import urlsplit

import httpx2

from playhead_client.calls import Call
from playhead_client.environment import API_KEY, API_URL, DEFAULT_API_URL
from playhead_client.errors import APIConnectionError, InvalidAddress, PlayheadError, UnexpectedResponse, problem_in
from playhead_client.events import Event, EventReader

CONNECT_SECONDS: Final = 5.0
DEFAULT_TIMEOUT: Final = 120.0
"""Seconds that a response may take: longer than the API waits for a reply before it answers 504."""
GATEWAY_STATUSES: Final = frozenset({502, 503, 504})
"""Responses of a proxy in front of the API while the API is away."""
NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)

Result = TypeVar("Result")


class ClientOptions(TypedDict):
    """Arguments of httpx2's clients."""

    base_url: str
    headers: dict[str, str]
    timeout: httpx2.Timeout
    trust_env: bool


@dataclass(frozen=True)
class Endpoint:
    """Address of an API, and the key that is sent with every call."""

    url: str
    key: str | None

    @classmethod
    def of(cls, url: str | None, key: str | None) -> "Endpoint":
        """The given address, or that of the environment (PLAYHEAD_API_URL, PLAYHEAD_API_KEY), or the local stack's.

        Raises InvalidAddress.
        """
        url = url or os.environ.get(API_URL) or DEFAULT_API_URL
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidAddress(url)
        return cls(url.rstrip("/"), key or os.environ.get(API_KEY) or None)

    def client_options(self, timeout: float) -> ClientOptions:
        """Options of the HTTP client; no response may take longer than `timeout` seconds."""
        return {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {self.key}"} if self.key else {},
            "timeout": httpx2.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
            # The environment's proxy is not for services on this machine.
            "trust_env": urlsplit(self.url).hostname not in ("127.0.0.1", "::1", "localhost"),
        }

    def result(self, call: Call[Result], response: httpx2.Response) -> Result:
        """The value in a response. Raises the error that the response describes."""
        if not response.is_success:
            raise self.error(call, response)
        try:
            return call.read(response.content)
        except ValueError as error:
            raise self._unexpected(call, "a response that cannot be read") from error

    def error(self, call: Call[Result], response: httpx2.Response) -> PlayheadError:
        """The error in a response that is not a success and whose body has been read."""
        problem = problem_in(response.status_code, response.content, _retry_after(response))
        if problem is not None:
            return problem
        if response.status_code in GATEWAY_STATUSES:
            return APIConnectionError(
                f"The API at {self.url} cannot be reached: a gateway answers {response.status_code}.", was_sent=True
            )
        return self._unexpected(call, f"{response.status_code} without a problem document")

    def event(self, call: Call[Result], reader: EventReader, sent: httpx2.ServerSentEvent) -> Event:
        """The event in a server-sent event. Raises UnexpectedResponse."""
        try:
            return reader.read(sent)
        except ValueError as error:
            raise self._unexpected(call, "an event that cannot be read") from error

    def connection_error(self, call: Call[Result], error: httpx2.TransportError) -> PlayheadError:
        """The client's error for an error of the connection."""
        if isinstance(error, httpx2.SSEError):
            return self._unexpected(call, "a response that is not an event stream")
        slow = isinstance(error, httpx2.TimeoutException)
        summary = "did not answer in time" if slow else "cannot be reached"
        detail = f": {error}" if str(error) else ""
        return APIConnectionError(
            f"The API at {self.url} {summary}{detail}.", was_sent=not isinstance(error, NEVER_SENT), was_slow=slow
        )

    def stream_interrupted(self) -> APIConnectionError:
        """The error of a stream that ended before its last event."""
        return APIConnectionError(f"The API at {self.url} ended a stream before its last event.", was_sent=True)

    def _unexpected(self, call: Call[Result], response: str) -> UnexpectedResponse:
        return UnexpectedResponse(
            f"The service at {self.url} is not the Playhead API, or a version that this client cannot read: "
            f"{call.method} {call.path} returned {response}. Check the address."
        )


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds, as the API writes them; a date, the header's other form, comes from a proxy and is ignored."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
