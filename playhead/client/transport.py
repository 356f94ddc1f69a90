"""Requests and answers, before and after the connection: the same for the blocking and the async client."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypedDict, TypeVar
from urllib.parse import urlsplit

import httpx

from playhead.client.errors import APIConnectionError, InvalidAddress, PlayheadError, UnexpectedResponse, problem_in
from playhead.client.event_stream import Event, EventReader
from playhead.client.requests import Call
from playhead.config.environment import API_KEY, API_URL, DEFAULT_API_URL

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 120.0
"""How long a call may take: longer than the API waits for a reply before it answers 504."""
GATEWAY_STATUSES: Final = frozenset({502, 503, 504})
"""What a proxy before the API answers while the API is away."""
NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

Result = TypeVar("Result")


class Connecting(TypedDict):
    """What both of httpx's clients are made with."""

    base_url: str
    headers: dict[str, str]
    timeout: httpx.Timeout
    trust_env: bool


@dataclass(frozen=True)
class Address:
    """Where the API is, and the key that goes with every call."""

    url: str
    key: str | None

    @classmethod
    def of(cls, url: str | None, key: str | None) -> "Address":
        """The address given, or that of the environment (PLAYHEAD_API_URL, PLAYHEAD_API_KEY), or the local stack's.

        Raises InvalidAddress.
        """
        url = url or os.environ.get(API_URL) or DEFAULT_API_URL
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidAddress(url)
        return cls(url.rstrip("/"), key or os.environ.get(API_KEY) or None)

    def connecting(self, timeout: float) -> Connecting:
        """How httpx reaches it; no answer may take longer than `timeout` seconds."""
        return {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {self.key}"} if self.key else {},
            "timeout": httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
            # A proxy of the environment is for the world, not for this machine.
            "trust_env": urlsplit(self.url).hostname not in ("127.0.0.1", "::1", "localhost"),
        }

    def events(self, call: Call[Result], reader: EventReader, received: bytes) -> Iterator[Event]:
        """The events in a piece of a stream. Raises UnexpectedResponse when there are none of the API's in it."""
        try:
            yield from reader.take(received)
        except ValueError as error:
            raise self._foreign(call, "an event that cannot be read") from error

    def broken_off(self) -> APIConnectionError:
        """What the end of a stream before its last event means."""
        return APIConnectionError(f"The API at {self.url} ended a stream before its last event.", was_sent=True)

    def lost(self, error: httpx.TransportError) -> APIConnectionError:
        """What a failure of the connection means."""
        slow = isinstance(error, httpx.TimeoutException)
        what = "did not answer in time" if slow else "cannot be reached"
        said = f": {error}" if str(error) else ""
        return APIConnectionError(
            f"The API at {self.url} {what}{said}.", was_sent=not isinstance(error, NEVER_SENT), was_slow=slow
        )

    def result(self, call: Call[Result], response: httpx.Response) -> Result:
        """What an answer says. Raises the problem it tells."""
        if not response.is_success:
            raise self.failure(call, response)
        try:
            return call.read(response.content)
        except ValueError as error:
            raise self._foreign(call, "an answer that cannot be read") from error

    def failure(self, call: Call[Result], response: httpx.Response) -> PlayheadError:
        """What an answer that is no success means; its body has been read."""
        problem = problem_in(response.status_code, response.content, _retry_after(response))
        if problem is not None:
            return problem
        if response.status_code in GATEWAY_STATUSES:
            return APIConnectionError(
                f"The API at {self.url} cannot be reached: a gateway answers {response.status_code}.", was_sent=True
            )
        return self._foreign(call, f"{response.status_code} without a problem in it")

    def _foreign(self, call: Call[Result], answer: str) -> UnexpectedResponse:
        return UnexpectedResponse(
            f"What answers at {self.url} is not the Playhead API, or another version of it than this client knows: "
            f"{call.method} {call.path} gave {answer}."
        )


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, as the API writes them; the other form of the header, a date, is a proxy's and is not kept to."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
