# Generated from _async/client.py by scripts/generate_sync_client.py; change that file instead.
"""The blocking client."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from playhead_client._sync.agents import Agents
from playhead_client._sync.documents import Documents
from playhead_client._sync.sessions import Sessions
from playhead_client._sync.suites import Suites
from playhead_client._sync.transport import Transport
from playhead_client._sync.usage import Usage
from playhead_client.endpoint import DEFAULT_TIMEOUT, Endpoint
from playhead_client.retries import RetryPolicy


class Playhead:
    """A client of one API: `with Playhead() as playhead: playhead.sessions.open("booking-line")`.

    Address and key default to those of the environment (PLAYHEAD_API_URL, PLAYHEAD_API_KEY), and then to the local
    stack's. A response may take at most `timeout` seconds. Every method raises PlayheadError; its subclasses
    distinguish the causes.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        endpoint = Endpoint.of(url, key)
        self.url = endpoint.url
        self._transport = Transport(endpoint, timeout=timeout, retries=retries or RetryPolicy(), sleep=sleep)
        self.sessions = Sessions(self._transport)
        self.agents = Agents(self._transport)
        self.documents = Documents(self._transport)
        self.suites = Suites(self._transport)
        self.usage = Usage(self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client accepts no further calls."""
        self._transport.close()
