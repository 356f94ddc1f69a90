"""Health checks of the store and of Temporal, in the background, so that commands fail at once during an outage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
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

log = structlog.get_logger("api.availability")


@dataclass(frozen=True)
class Outage:
    """An outage of a service; the reason is a sentence that says what to do."""

    reason: str


class Availability:
    """Results of the latest health checks. Before the first check both services count as up."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._outages: dict[Service, Outage] = {}
        self._migrated = False

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
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def check(self) -> None:
        """Check both services once."""
        await asyncio.gather(self._check("store", self._check_store), self._check("temporal", self._check_temporal))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_SECONDS)
            await self.check()

    async def _check(self, service: Service, check: Callable[[], Awaitable[Outage | None]]) -> None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                outage = await check()
        except TimeoutError:
            outage = Outage(f"{NAMES[service]} did not answer within {CHECK_TIMEOUT_SECONDS:g} seconds.")
        except Exception as error:
            # Any error of a health check is an outage, and the monitoring must go on.
            outage = Outage(f"{NAMES[service]} cannot be reached.")
            if not isinstance(error, StoreUnavailable | RPCError | RuntimeError | OSError):
                log.exception("health check failed", service=service)
        self._record(service, outage)

    def _record(self, service: Service, outage: Outage | None) -> None:
        if outage is None:
            if self._outages.pop(service, None):
                log.info("service available again", service=service)
        else:
            if self._outages.get(service) != outage:
                log.warning("service unavailable; commands are rejected", service=service, reason=outage.reason)
            self._outages[service] = outage

    async def _check_store(self) -> Outage | None:
        await self._database.ping()
        await self._database.require_writable()
        if self._migrated:
            return None
        try:
            missing = await pending(self._database)
        except LookupError as error:  # written by a newer Playhead
            return Outage(str(error))
        self._migrated = not missing
        return Outage("The store is not migrated: run `playhead db upgrade`.") if missing else None

    async def _check_temporal(self) -> Outage | None:
        serving = await self._client.service_client.check_health(timeout=timedelta(seconds=CHECK_TIMEOUT_SECONDS))
        return None if serving else Outage("The Temporal server reports that it is not serving.")
