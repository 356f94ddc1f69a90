"""Health checks of the store and of Temporal, in the background, so that commands fail at once during an outage.

A service that is busy is not down: an outage is two errors in a row, or a check without an answer for ten seconds. A
store that completes other work during a failed check is up.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
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
Check = Callable[[], Coroutine[None, None, "Outage | None"]]
NAMES: Final[dict[Service, str]] = {"store": "The store", "temporal": "Temporal"}
CHECK_EVERY_SECONDS = 1.0
PATIENCE_SECONDS = 10
"""A service that does not answer a check in this time counts as down. A request waits as long for a connection."""
TICK_SECONDS = 1.0
"""The most that a pause of this process counts: an answer may have arrived in the pause, and was not read yet."""
REPEAT_SECONDS: Final = 0.1
"""Pause before a failed check is repeated, so that one broken connection is not an outage."""
CANCELLATION_SECONDS: Final = 5.0
"""Time that a cancelled check may take to give back its connection."""
FIRST_CHECKS_SECONDS: Final = 2.0
"""Time that the start of the API waits for the first checks."""
PROBE_EVERY_SECONDS = 5.0
"""Pause between two probes that write to the store. They cost more than the other checks."""

log = structlog.get_logger("api.availability")


@dataclass(frozen=True)
class Outage:
    """An outage of a service; the reason is a sentence that says what to do. The cause is for the log only."""

    reason: str
    cause: str | None = field(default=None, compare=False)


_NOT_WRITABLE: Final = "The store cannot be written: its disk may be full or read-only. The API's log has the error."
_LOCKED: Final = "The store completes no writes: it may be locked by another process. The API's log has the error."


class Availability:
    """Results of the latest health checks. Before the first check both services count as up."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._outages: dict[Service, Outage] = {}
        self._unchecked: set[Service] = set(NAMES)
        self._all_checked = asyncio.Event()
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
        """Check now, then a second after each check while the block runs."""
        tasks = [
            asyncio.create_task(self._watch("store", self._check_store)),
            asyncio.create_task(self._watch("temporal", self._check_temporal)),
            asyncio.create_task(self._watch_writes()),
        ]
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_checked.wait(), FIRST_CHECKS_SECONDS)
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _watch(self, service: Service, check: Check) -> None:
        while True:
            await self._check(service, check)
            await asyncio.sleep(CHECK_EVERY_SECONDS)

    async def _watch_writes(self) -> None:
        """Probe writes separately from the checks: a write may wait for other writers, which is not an outage."""
        while True:
            if self._migrated:
                await self._probe_write()
            is_down = self._write_outage is not None or "store" in self._outages
            await asyncio.sleep(CHECK_EVERY_SECONDS if is_down else PROBE_EVERY_SECONDS)

    async def _probe_write(self) -> None:
        written = self._database.completed_writes
        try:
            await self._database.probe_write()
        except StoreUnavailable as error:
            if not error.is_timeout:
                self._write_outage = Outage(_NOT_WRITABLE, cause=str(error))
            elif self._database.completed_writes == written:
                self._write_outage = Outage(_LOCKED, cause=str(error))
            else:
                self._write_outage = None
        except Exception as error:
            self._write_outage = Outage(_NOT_WRITABLE, cause=str(error))
            log.exception("write probe failed")
        else:
            self._write_outage = None

    async def _check(self, service: Service, check: Check) -> None:
        completed = self._database.completed
        try:
            outage = await _twice(check)
        except Exception as error:
            # Any error of a health check is an outage, and the monitoring must go on.
            outage = _outage_by(error, service)
            if service == "store" and self._database.completed != completed:
                outage = None  # the store is at work
        self._record(service, outage)

    def _record(self, service: Service, outage: Outage | None) -> None:
        self._unchecked.discard(service)
        if not self._unchecked:
            self._all_checked.set()
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
        # The timeout of the client runs on while this process is suspended, so it is longer than that of the check.
        serving = await self._client.service_client.check_health(timeout=timedelta(seconds=2 * PATIENCE_SECONDS))
        return None if serving else Outage("The Temporal server reports that it is not serving.")


def _outage_by(error: Exception, service: Service) -> Outage:
    """The outage that an error of a check stands for."""
    if isinstance(error, TimeoutError):
        return Outage(f"{NAMES[service]} did not answer within {PATIENCE_SECONDS} seconds.")
    if not isinstance(error, StoreUnavailable | RPCError | RuntimeError | OSError):
        log.error("health check failed", service=service, exc_info=error)
    return Outage(f"{NAMES[service]} cannot be reached.", cause=str(error))


async def _twice(check: Check) -> Outage | None:
    """The result of a check, or of a second one when the first fails: servers close old connections."""
    try:
        return await _patiently(check())
    except TimeoutError:
        raise
    except Exception:
        await asyncio.sleep(REPEAT_SECONDS)
        return await _patiently(check())


async def _patiently(check: Coroutine[None, None, Outage | None]) -> Outage | None:
    """The result of a check. Raises TimeoutError when it takes too long, not counting pauses of this process."""
    task = asyncio.create_task(check)
    try:
        for _ in range(PATIENCE_SECONDS):
            await asyncio.wait([task], timeout=TICK_SECONDS)
            if task.done():
                return task.result()
        raise TimeoutError
    finally:
        task.add_done_callback(_take_error)
        task.cancel()
        # The store is closed right after the checks end; a connection that is still in use then would never be closed.
        await asyncio.wait([task], timeout=CANCELLATION_SECONDS)


def _take_error(task: asyncio.Task[Outage | None]) -> None:
    if not task.cancelled():
        task.exception()
