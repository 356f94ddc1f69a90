"""Start and stop of a service: dependencies, signals and garbage collection."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from playhead.exit_codes import USAGE, CommandFailed
from playhead.services.log_config import configure_logging

if TYPE_CHECKING:
    from playhead.config.settings import Settings
    from store.database.connection import Database

FIRST_RETRY_DELAY = 0.2
MAX_RETRY_DELAY = 5.0
"""Seconds between two attempts to reach a dependency; the delay doubles from the first to the longest."""

URL_HINT = (
    "PLAYHEAD_DATABASE_URL must look like sqlite:///playhead.db or postgresql://user:password@host:5432/playhead."
)
THREAD_SWITCH_SECONDS = 0.0005
"""Longest time a thread keeps the interpreter while others wait. Workflows, the store and the SDK run in threads beside
the event loop; in a busy worker a settlement waited 28 ms with Python's default of 5 ms, and 6 ms with this one."""
GC_THRESHOLDS = (20_000, 20, 50)
"""Thresholds of the garbage collector's three generations."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class Stopped(Exception):
    """The service was stopped while it waited for a dependency."""


def run_service(settings: "Settings", service: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a service on its own event loop until it ends. SIGINT and SIGTERM set the event that it gets."""
    import uvloop

    from playhead.config.settings import setting_warnings

    configure_logging(settings.log_format, settings.log_level)
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    for warning in setting_warnings():
        log.warning(warning)

    async def run_until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop_once() -> None:
            stop.set()
            for number in STOP_SIGNALS:  # a second signal ends the process at once
                loop.remove_signal_handler(number)

        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop_once)
        with suppress(Stopped):
            await service(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_until_stopped())


def freeze_garbage_collector() -> None:
    """Exclude all objects that exist now from garbage collection.

    The hundred thousand objects of the libraries live as long as the service. Each full collection would scan them
    and pause the process (docs/decisions/0048-freeze-the-garbage-collector.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def run_together(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts of a service until the first ends or fails, then stop the others and wait for them.

    Raises the error of the first failed part.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        await asyncio.wait(tasks)
    for task in tasks:
        with suppress(Stopped):
            task.result()


async def wait_until_reachable(
    name: str,
    attempt: Callable[[], Awaitable[Result]],
    *,
    unreachable: tuple[type[Exception], ...],
    stop: asyncio.Event,
) -> Result:
    """Repeat `attempt` until it succeeds, with a growing delay while it raises one of `unreachable`.

    Raises Stopped when `stop` is set meanwhile. Other errors propagate.
    """
    delay = FIRST_RETRY_DELAY
    while True:
        try:
            result = await attempt()
        except unreachable as error:
            log.warning(f"{name} cannot be reached yet; trying again", reason=str(error), delay_seconds=delay)
        else:
            if delay > FIRST_RETRY_DELAY:
                log.info(f"{name} can be reached")
            return result
        if await is_set_within(stop, delay):
            raise Stopped
        delay = min(delay * 2, MAX_RETRY_DELAY)


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event for at most `seconds`; returns whether it is set."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def open_store(settings: "Settings") -> AsyncIterator["Database"]:
    """The store for the duration of the block, not connected yet. Raises CommandFailed for an invalid URL."""
    from store.database.connection import Database
    from store.database.errors import StoreUnavailable

    try:
        database = Database.open(settings.database_url)
    except (ValueError, StoreUnavailable) as error:
        raise CommandFailed(f"PLAYHEAD_DATABASE_URL cannot be used: {error}", status=USAGE, hint=URL_HINT) from error
    try:
        yield database
    finally:
        await database.aclose()


async def require_migrated(database: "Database") -> None:
    """Require an up-to-date schema. Raises CommandFailed, or StoreUnavailable."""
    from store.migrate import pending

    with explain_database_errors(database):
        missing = await pending(database)
    if missing:
        raise CommandFailed(
            f"The store's schema is not up to date: {len(missing)} migration(s) are missing ({', '.join(missing)}).",
            status=USAGE,
            hint="Run `playhead db upgrade` with the same PLAYHEAD_DATABASE_URL, then start again.",
        )


@contextmanager
def explain_database_errors(database: "Database") -> Iterator[None]:
    """Turn errors of a database that is running but rejects the service into CommandFailed."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        raise CommandFailed(
            f"The database {database.address} reports an error: {error.orig}.",
            status=USAGE,
            hint=f"Check that it exists and that the user has access. {URL_HINT}",
        ) from error
    except LookupError as error:
        raise CommandFailed(str(error), status=USAGE) from error
