"""Connections of the HTTP server: uvicorn's protocol with limits on heads, slow requests and connections."""

import asyncio
import re
import resource
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import structlog
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.http.problems import Problem
from api.http.request_metrics import SECURITY_HEADERS, new_request_id
from api.openai.paths import problem_response_at

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADER_LINES: Final = 100
RESERVED_FILES: Final = 200
"""File descriptors that connections leave to the database, to Temporal and to files."""

log = structlog.get_logger("api.connections")


@dataclass
class ConnectionLimits:
    """Limits of one server. Times are in seconds, the rate is in bytes a second after the first `body_seconds`."""

    head_seconds: float = 10.0
    first_byte_seconds: float = 30.0
    body_seconds: float = 20.0
    min_body_rate: float = 1024.0
    max_connections: int = 4096
    max_incomplete: int = 512
    incomplete: dict["LimitedProtocol", None] = field(default_factory=dict)
    """Connections that have not sent a whole request, the oldest first."""


class RequestRejected(Exception):
    """Raised in a callback of the parser to stop it."""


def limited_protocol(limits: ConnectionLimits | None = None) -> type["LimitedProtocol"]:
    """The protocol class of one server."""
    limits = limits or ConnectionLimits(max_connections=min(4096, _max_files() - RESERVED_FILES))
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits})


class LimitedProtocol(HttpToolsProtocol):
    """A connection with limits on the time and size of requests, and on the number of connections.

    A request that arrives whole needs no timer. Streams and long waits are responses, which have no limit here.
    """

    limits: ConnectionLimits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Accept the connection, or answer 503 at once when there are too many."""
        super().connection_made(transport)
        self.url = b""
        self._head_bytes = 0
        self._head_lines = 0
        self._counted = 0
        self._body_bytes = 0
        self._waiting_since = self.loop.time()
        self._is_within = False
        self._is_head_complete = False
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.limits.max_connections:
            self._reject(
                Problem("unavailable", "There are too many connections. Try again in a second.", service="api")
            )
            return
        self._wait(self.limits.first_byte_seconds)
        if len(self.limits.incomplete) > self.limits.max_incomplete:
            next(iter(self.limits.incomplete))._give_up("There are too many requests that are sent slowly.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data that has arrived, and limit the time for the rest."""
        if self.transport.is_closing():
            return
        was_complete = self._is_head_complete
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._is_within:
            self._wait_no_longer()
        elif self._is_head_complete:
            if not was_complete or self._timer is None:
                self._restart(self.limits.body_seconds)
        else:
            end = data.rfind(b"\r\n\r\n")
            self._head_bytes += len(data) if end < 0 else len(data) - end - 4
            if self._head_bytes > MAX_HEAD_BYTES:
                self._reject(_head_too_large())
            elif self._timer is None or self._waits_for_first_byte or was_complete:
                self._restart(self.limits.head_seconds)

    def on_message_begin(self) -> None:
        """Begin to count the head of a request."""
        super().on_message_begin()
        self._is_within, self._is_head_complete = True, False
        self._head_bytes = self._head_lines = self._body_bytes = 0
        self._counted = 0

    def on_url(self, url: bytes) -> None:
        """Receive a part of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header or a trailer."""
        self._head_lines += 1
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer. The host of an absolute URL, as sent to proxies, replaces that of the header."""
        self._is_head_complete = True
        _, is_absolute, rest = self.url.partition(b"://")
        if is_absolute and not self.url.startswith(b"/"):
            host = re.split(rb"[/?#]", rest, maxsplit=1)[0]
            self.headers[:] = [*(header for header in self.headers if header[0] != b"host"), (b"host", host)]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Record that the request is complete."""
        self._is_within = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Reject data that is not HTTP, or has a head that is too large."""
        too_large = self._head_lines > MAX_HEADER_LINES or self._counted > MAX_HEAD_BYTES
        self._reject(
            _head_too_large() if too_large else Problem("invalid_request", "This is not a valid HTTP request.")
        )

    def handle_websocket_upgrade(self) -> None:
        """Never called: the server has no WebSockets."""
        raise NotImplementedError

    @property
    def _waits_for_first_byte(self) -> bool:
        return self._deadline_seconds == self.limits.first_byte_seconds

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > MAX_HEAD_BYTES or self._head_lines > MAX_HEADER_LINES:
            raise RequestRejected

    def _restart(self, seconds: float) -> None:
        self._wait_no_longer()
        self._waiting_since = self.loop.time()
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self._deadline_seconds = seconds
        self.limits.incomplete[self] = None
        self._timer = self.loop.call_later(seconds, self._look)

    def _wait_no_longer(self) -> None:
        self.limits.incomplete.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Reject a late request. A body is not late while it arrives fast enough, or while the server reads nothing."""
        if self._is_within and self._is_head_complete:
            overtime = self.loop.time() - self._waiting_since - self.limits.body_seconds
            if self.flow.read_paused or self._body_bytes > max(overtime, 0.001) * self.limits.min_body_rate:
                self._timer = self.loop.call_later(self.limits.body_seconds / 4, self._look)
                return
        self._give_up("The request did not arrive in time. Send it again as a whole.")

    def _give_up(self, detail: str) -> None:
        if self._is_within:
            self._reject(Problem("request_timeout", detail))
        else:
            self._wait_no_longer()
            self.transport.close()

    def _reject(self, problem: Problem) -> None:
        """Answer with the problem, unless an answer has begun, and close the connection."""
        self._wait_no_longer()
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        is_answering = cycle is not None and cycle.response_started and not cycle.response_complete
        is_answered = self._is_head_complete and cycle is not None and cycle.response_complete
        if not is_answering and not is_answered:
            response = problem_response_at(_path_of(self.url), problem)
            response.headers["x-request-id"] = request_id = new_request_id()
            log.info("connection rejected", status=response.status_code, reason=problem.detail, request_id=request_id)
            self.transport.write(_raw(response))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


def _head_too_large() -> Problem:
    return Problem(
        "headers_too_large",
        f"The address and the headers may have {MAX_HEAD_BYTES} bytes and {MAX_HEADER_LINES} lines.",
        limit=MAX_HEAD_BYTES,
    )


def _path_of(url: bytes) -> str:
    """The path of a URL as far as it has arrived."""
    return unquote(url.partition(b"?")[0].decode("ascii", "replace"))


def _raw(response: Response) -> bytes:
    headers = [*response.raw_headers, *SECURITY_HEADERS, (b"connection", b"close")]
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"%b%b\r\n%b" % (STATUS_LINE[response.status_code], lines, bytes(response.body))


def _max_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(soft, RESERVED_FILES + 100)
