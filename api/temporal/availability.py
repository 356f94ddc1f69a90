"""Whether the services behind the API can be reached: looked at all the time, so that nobody waits to be refused."""

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
"""A service that takes longer for the smallest of questions counts as down."""

log = structlog.get_logger("api.availability")


@dataclass(frozen=True)
class Outage:
    """Why a service cannot be used, in a sentence that says what to do."""

    reason: str


class Availability:
    """The last look at the store and at Temporal. Before the first look both count as up."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._outages: dict[Service, Outage] = {}
        self._migrated = False

    def outage_of(self, service: Service) -> Outage | None:
        """What is wrong with a service, or None while it is up."""
        return self._outages.get(service)

    def refusal(self) -> Problem | None:
        """The answer to commands while a service is down."""
        for service, outage in self._outages.items():
            return unavailable(service, f"{outage.reason} Nothing was accepted; try again in a second.")
        return None

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look now, then every second while the block runs."""
        await self.look()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def look(self) -> None:
        """Look at both services once."""
        await asyncio.gather(self._look_at("store", self._ask_store), self._look_at("temporal", self._ask_temporal))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_SECONDS)
            await self.look()

    async def _look_at(self, service: Service, ask: Callable[[], Awaitable[Outage | None]]) -> None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                outage = await ask()
        except TimeoutError:
            outage = Outage(f"{NAMES[service]} did not answer within {CHECK_TIMEOUT_SECONDS:g} seconds.")
        except Exception as error:
            # Whatever goes wrong with such a small question, the service cannot be used; and the watch must go on.
            outage = Outage(f"{NAMES[service]} cannot be reached.")
            if not isinstance(error, StoreUnavailable | RPCError | RuntimeError | OSError):
                log.exception("looking at a service failed", service=service)
        self._note(service, outage)

    def _note(self, service: Service, outage: Outage | None) -> None:
        if outage is None:
            if self._outages.pop(service, None):
                log.info("a service is back", service=service)
        else:
            if self._outages.get(service) != outage:
                log.warning(
                    "a service is down; commands are refused until it is back", service=service, reason=outage.reason
                )
            self._outages[service] = outage

    async def _ask_store(self) -> Outage | None:
        await self._database.ping()
        if self._migrated:
            return None
        try:
            missing = await pending(self._database)
        except LookupError as error:  # written by a newer Playhead
            return Outage(str(error))
        self._migrated = not missing
        return Outage("The store is not migrated: run `playhead db upgrade`.") if missing else None

    async def _ask_temporal(self) -> Outage | None:
        serving = await self._client.service_client.check_health(timeout=timedelta(seconds=CHECK_TIMEOUT_SECONDS))
        return None if serving else Outage("The temporal server says that it is not serving.")
