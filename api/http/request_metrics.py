"""Request logging and Prometheus metrics: an id, a log line and a measurement for each request; a count of turns."""

import re
from time import perf_counter
from typing import Final
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import Problem, problem_response
from domain.turns.turn import TurnStatus

DEBUG_ROUTES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Routes that are polled by machines: logged at debug level only."""
SECURITY_HEADERS: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""Headers of every response that does not set them itself: no caching, no guessing of the content type."""
CLIENT_CLOSED_REQUEST: Final = 499
"""Recorded for a client that disconnected before its response began; it is never sent."""
REQUEST_ID_HEADER: Final = b"x-request-id"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""Ids that proxies and clients may set. Others are replaced, because request ids are written to logs."""
UNKNOWN_ROUTE: Final = "unknown"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

log = structlog.get_logger("api.requests")


class Metrics:
    """The metrics of one application, in its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "playhead_http_requests",
            "Requests answered, by method, route template and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "playhead_http_request_seconds",
            "Time from a request to the end of its response, in seconds, including the wait for replies.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._turns = Counter(
            "playhead_turns", "Turns answered to this API's callers, by status.", ("status",), registry=self.registry
        )

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def count_turn(self, status: TurnStatus) -> None:
        """Count one turn that was returned to a caller."""
        self._turns.labels(status).inc()


class RequestMetricsMiddleware:
    """ASGI middleware around every request: gives it an id, measures it and logs it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = 0
        has_left = False
        request_id = _request_id(scope)
        log_subject(scope, "request_id", request_id.decode())

        async def receive_and_record() -> Message:
            nonlocal has_left
            message = await receive()
            # Noted here, because the framework turns a body that ends too early into a response with 400.
            has_left = has_left or (message["type"] == "http.disconnect" and not status)
            return message

        async def send_and_record(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    (REQUEST_ID_HEADER, request_id),
                    *(header for header in SECURITY_HEADERS if header[0] not in present),
                ]
            await send(message)

        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
                await self._app(scope, receive_and_record, send_and_record)
        except ClientDisconnect:
            has_left = has_left or not status
        finally:
            self._record(scope, CLIENT_CLOSED_REQUEST if has_left else status, perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route_of(scope)
        self._metrics.count_request(scope["method"], route, status, seconds)
        write = log.debug if route in DEBUG_ROUTES else log.warning if status >= 500 else log.info
        write(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            **_subjects_of(scope),
        )


class UnexpectedErrorMiddleware:
    """ASGI middleware that logs unexpected errors and responds to them with 500, unless a response has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("request failed", route=_route_of(scope), **_subjects_of(scope))
            if has_begun:
                raise
            problem = Problem(
                "internal_error", "The request failed because of an error in the server, which was logged."
            )
            await problem_response(scope, problem)(scope, receive, send)


def log_subject(scope: Scope, kind: str, name: str) -> None:
    """Add the id of an object to the log line of a request."""
    subjects: dict[str, str] = scope.setdefault("subjects", {})
    subjects[kind] = name


def new_request_id() -> str:
    """An id for a request that has none."""
    return f"req_{uuid4().hex}"


def _request_id(scope: Scope) -> bytes:
    """The id that a proxy or the client gave to a request, or a new one."""
    given = [value for name, value in scope["headers"] if name == REQUEST_ID_HEADER]
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return bytes(given[0])
    return new_request_id().encode()


def _route_of(scope: Scope) -> str:
    """The route's template. The path itself would create a label for every id."""
    return getattr(scope.get("route"), "path", UNKNOWN_ROUTE)


def _subjects_of(scope: Scope) -> dict[str, str]:
    """Ids of the organization and the session of a request, as far as they are known; no texts, no secrets."""
    subjects: dict[str, str] = scope.get("subjects", {})
    session_id = scope.get("path_params", {}).get("session_id")
    return {**subjects, "session": session_id} if session_id else subjects
