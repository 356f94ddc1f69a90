"""Health checks: neither a busy service nor a process that stood still for a while is an outage."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.service import RPCError, RPCStatusCode

from api.temporal import availability
from api.temporal.availability import Availability
from store.database.errors import StoreUnavailable
from tests.support.waiting import eventually

Answer = Callable[[], Awaitable[None]]

TICK = 0.01


async def at_once() -> None:
    """Answer."""


async def never() -> None:
    """Leave a check without an answer."""
    await asyncio.Event().wait()


async def after_a_pause_of_the_process() -> None:
    """Answer while the process stands still, for longer than a check once could take."""
    time.sleep(2.1)  # noqa: ASYNC251  # the process stands still
    await asyncio.sleep(TICK)


class FakeStore:
    """A migrated store that answers pings and writes as a test says."""

    def __init__(self) -> None:
        self.completed = 0
        self.completed_writes = 0
        self.answer: Answer = at_once
        self.answer_write: Answer = at_once
        self.pings = 0
        self.probes = 0

    async def ping(self) -> None:
        self.pings += 1
        await self.answer()

    async def require_room(self) -> None: ...

    async def read(self, _work: object) -> list[str]:
        return []  # no migration is pending

    async def probe_write(self) -> None:
        self.probes += 1
        await self.answer_write()

    async def busy(self) -> None:
        """Leave a check without an answer while others get theirs."""
        while True:
            await asyncio.sleep(TICK)
            self.completed += 1

    async def all_connections_taken(self) -> None:
        self.completed += 1
        self.completed_writes += 1
        raise StoreUnavailable("postgresql://test", TimeoutError("no connection"))

    async def locked(self) -> None:
        raise StoreUnavailable("postgresql://test", TimeoutError("no connection"))

    async def full(self) -> None:
        self.completed_writes += 1
        raise StoreUnavailable("postgresql://test", OSError("no room"))


class FakeTemporal:
    """A Temporal client whose health checks are answered as a test says."""

    def __init__(self) -> None:
        self.service_client = self
        self.answer: Answer = at_once
        self.checks = 0

    async def check_health(self, *, timeout: timedelta) -> bool:  # noqa: ASYNC109  # as in the SDK
        self.checks += 1
        await self.answer()
        return True


class WatchedServices:
    """Services under watch."""

    def __init__(self) -> None:
        self.store, self.temporal = FakeStore(), FakeTemporal()
        self.availability = Availability(cast(Any, self.temporal), cast(Any, self.store))

    async def some_checks(self, count: int = 3) -> None:
        """Wait until some more checks of everything were made."""
        store, temporal, probes = self.store.pings, self.temporal.checks, self.store.probes

        async def made() -> bool:
            return min(self.store.pings - store, self.temporal.checks - temporal, self.store.probes - probes) >= count

        await eventually(made)

    async def is_down(self, service: availability.Service) -> None:
        async def seen() -> bool:
            return self.availability.outage_of(service) is not None

        await eventually(seen)

    async def is_up(self) -> None:
        async def seen() -> bool:
            return self.availability.error() is None

        await eventually(seen)


@pytest.fixture
async def services(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WatchedServices]:
    for name in ("CHECK_EVERY_SECONDS", "PROBE_EVERY_SECONDS", "TICK_SECONDS"):
        monkeypatch.setattr(availability, name, TICK)
    services = WatchedServices()
    async with services.availability.monitored():
        await services.some_checks(1)
        yield services


@asynccontextmanager
async def no_outage(services: WatchedServices) -> AsyncIterator[None]:
    """Fail if any check in the block records an outage."""
    seen: list[object] = []
    record = services.availability._record

    def recorded(service: availability.Service, outage: availability.Outage | None) -> None:
        record(service, outage)
        seen.append(services.availability.error())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services.availability, "_record", recorded)
        yield
    assert seen
    assert not any(seen), seen


async def test_pause_of_the_process_is_no_outage(services: WatchedServices) -> None:
    """The answer lies unread while a process that is busy, or suspended, does not come to read it."""
    async with no_outage(services):
        services.store.answer = after_a_pause_of_the_process
        await services.some_checks(1)
        services.store.answer = at_once
        await services.some_checks()


async def test_store_that_is_busy_with_others_is_up(services: WatchedServices) -> None:
    async with no_outage(services):
        services.store.answer = services.store.busy
        pings = services.store.pings

        async def passed_over() -> bool:
            return services.store.pings >= pings + 3

        await eventually(passed_over)
        services.store.answer = services.store.all_connections_taken
        services.store.answer_write = services.store.all_connections_taken
        await services.some_checks()


async def test_service_that_never_answers_is_down(services: WatchedServices) -> None:
    services.store.answer = services.temporal.answer = never
    for service in ("store", "temporal"):
        await services.is_down(service)
        outage = services.availability.outage_of(service)
        assert outage is not None
        assert "did not answer within 10 seconds" in outage.reason
    services.store.answer = services.temporal.answer = at_once
    await services.is_up()


async def test_connection_that_broke_once_is_no_outage(services: WatchedServices) -> None:
    """Temporal ends each connection after some minutes, with whatever is asked on it just then."""

    async def breaks_once() -> None:
        services.temporal.answer = at_once
        raise RPCError("the connection was closed", RPCStatusCode.UNAVAILABLE, b"")

    async with no_outage(services):
        for _ in range(3):
            services.temporal.answer = breaks_once
            await services.some_checks()


async def test_error_of_a_check_is_an_outage_at_once(
    services: WatchedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "PATIENCE_SECONDS", 1_000_000)
    services.store.answer = services.store.locked
    await services.is_down("store")
    services.store.answer = at_once
    await services.is_up()


@pytest.mark.parametrize(("case", "reason"), [("locked", "completes no writes"), ("full", "cannot be written")])
async def test_store_that_takes_no_write_is_down(services: WatchedServices, case: str, reason: str) -> None:
    services.store.answer_write = getattr(services.store, case)
    await services.is_down("store")
    outage = services.availability.outage_of("store")
    assert outage is not None
    assert reason in outage.reason
    services.store.answer_write = at_once
    await services.is_up()


async def test_hanging_service_delays_no_check_of_the_other(
    services: WatchedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "PATIENCE_SECONDS", 1_000_000)
    services.store.answer = never
    checks = services.temporal.checks

    async def made() -> bool:
        return services.temporal.checks >= checks + 5

    await eventually(made)


async def test_no_check_outlives_the_monitoring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "FIRST_CHECKS_SECONDS", TICK)
    services = WatchedServices()
    asked, given_back = asyncio.Event(), asyncio.Event()

    async def gives_its_connection_back() -> None:
        asked.set()
        try:
            await never()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            given_back.set()

    services.store.answer = gives_its_connection_back
    async with services.availability.monitored():
        await asked.wait()
    assert given_back.is_set()
