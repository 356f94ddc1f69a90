"""Health checks of the store and of Temporal, in the background, so that commands fail at once during an outage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from api.http.problems import Problem, unavailable
from store.database.connection import Database
from store.database.errors import StoreUnavailable
from store.migrate import pending

Service = Literal["store", "temporal"]
NAMES: Final[dict[Service, str]] = {"store": "The store", "temporal": "Temporal"}
CHECK_EVERY_SECONDS = 1.0
CHECK_TIMEOUT_SECONDS: Final = 2.0
"""A service that takes longer to answer a health check counts as down."""
PROBE_EVERY_SECONDS = 5.0
"""Pause between two writes that show that the store can be written. They cost more than the other checks."""

log = structlog.get_logger("api.availability")


@dataclass(frozen=True)
class Outage:
    """An outage of a service; the reason is a sentence that says what to do. The cause is for the log only."""

    reason: str
    cause: str | None = field(default=None, compare=False)


_NOT_WRITABLE: Final = "The store cannot be written: its disk may be full or read-only. The API's log has the error."


class Availability:
    """Results of the latest health checks. Before the first check both services count as up."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._outages: dict[Service, Outage] = {}
        self._migrated = False
        self._write_outage: Outage | None = None

    def outage_of(self, service: Service) -> Outage | None:
        """The outage of a service, or None while it is up."""
        return self._outages.get(service)

    def error(self) -> Problem | None:
        """The error for commands while a service is down, else None."""
        for service, outage in self._outages.items():
            return unavailable(service, f"{outage.reason} Nothing was accepted; try again in a second.")
        return None

    @asynccontextmanager
    async def monitored(self) -> AsyncIterator[None]:
        """Check now, then every second while the block runs."""
        await self.check()
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._watch_writes())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def check(self) -> None:
        """Check both services once."""
        await asyncio.gather(self._check("store", self._check_store), self._check("temporal", self._check_temporal))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_SECONDS)
            await self.check()

    async def _watch_writes(self) -> None:
        """Probe the store apart from the checks: a write may wait for other writers, which is no outage."""
        while True:
            if self._migrated:
                await self._probe_write()
            is_down = self._write_outage is not None or "store" in self._outages
            await asyncio.sleep(CHECK_EVERY_SECONDS if is_down else PROBE_EVERY_SECONDS)

    async def _probe_write(self) -> None:
        try:
            await self._database.probe_write()
        except Exception as error:
            self._write_outage = Outage(_NOT_WRITABLE, cause=str(error))
            if not isinstance(error, StoreUnavailable):
                log.exception("write probe failed")
        else:
            self._write_outage = None

    async def _check(self, service: Service, check: Callable[[], Awaitable[Outage | None]]) -> None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                outage = await check()
        except TimeoutError:
            outage = Outage(f"{NAMES[service]} did not answer within {CHECK_TIMEOUT_SECONDS:g} seconds.")
        except Exception as error:
            # Any error of a health check is an outage, and the monitoring must go on.
            outage = Outage(f"{NAMES[service]} cannot be reached.", cause=str(error))
            if not isinstance(error, StoreUnavailable | RPCError | RuntimeError | OSError):
                log.exception("health check failed", service=service)
        self._record(service, outage)

    def _record(self, service: Service, outage: Outage | None) -> None:
        if outage is None:
            if self._outages.pop(service, None):
                log.info("service available again", service=service)
        else:
            if self._outages.get(service) != outage:
                log.warning(
                    "service unavailable; commands are rejected",
                    service=service,
                    reason=outage.reason,
                    **({"cause": outage.cause} if outage.cause else {}),
                )
            self._outages[service] = outage

    async def _check_store(self) -> Outage | None:
        await self._database.ping()
        try:
            await self._database.require_room()
        except StoreUnavailable as error:
            return Outage(_NOT_WRITABLE, cause=str(error))
        if self._migrated:
            return self._write_outage
        try:
            missing = await pending(self._database)
        except LookupError as error:  # written by a newer Playhead
            return Outage(str(error))
        self._migrated = not missing
        return Outage("The store is not migrated: run `playhead db upgrade`.") if missing else None

    async def _check_temporal(self) -> Outage | None:
        serving = await self._client.service_client.check_health(timeout=timedelta(seconds=CHECK_TIMEOUT_SECONDS))
        return None if serving else Outage("The Temporal server reports that it is not serving.")
