"""Starting a service: what it needs is waited for, and it goes on by itself when that is there."""

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

FIRST_PAUSE = 0.2
MAX_PAUSE = 5.0
"""Seconds between two attempts to reach something a service needs; they double from the first to the longest."""

URL_HINT = (
    "PLAYHEAD_DATABASE_URL must look like sqlite:///playhead.db or postgresql://user:password@host:5432/playhead."
)
SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait. Workflows, the store and the SDK run in threads beside
the event loop; at Python's own 5 ms a settlement took 28 ms of waiting in a busy worker, at half a millisecond 6 ms."""
COLLECT_AFTER = (20_000, 20, 50)
"""After how many new objects the garbage collector looks for cycles, and how often at older ones too."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Reached = TypeVar("Reached")

log = structlog.get_logger(__name__)


class Stopped(Exception):
    """The service was told to stop while it still waited for what it needs."""


def run_service(settings: "Settings", service: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a service on its own event loop until it ends, or SIGINT or SIGTERM sets the event it was given."""
    import uvloop

    from playhead.config.settings import setting_warnings

    configure_logging(settings.log_format, settings.log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    for warning in setting_warnings():
        log.warning(warning)

    async def until_told() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop_once() -> None:
            stop.set()
            for told in STOP_SIGNALS:  # the next one ends the process at once
                loop.remove_signal_handler(told)

        for told in STOP_SIGNALS:
            loop.add_signal_handler(told, stop_once)
        with suppress(Stopped):
            await service(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_told())


def spare_what_stays() -> None:
    """Tell the garbage collector that what is loaded by now stays.

    A service keeps some hundred thousand objects of its libraries for as long as it lives. Going through them again and
    again for garbage stops everything meanwhile (docs/decisions.md, 48).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def run_together(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts of a service until the first ends or fails, then tell the others to stop and wait for them.

    Raises what the first failed part raised.
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


async def until_reached(
    what: str,
    attempt: Callable[[], Awaitable[Reached]],
    *,
    unreachable: tuple[type[Exception], ...],
    stop: asyncio.Event,
) -> Reached:
    """Attempt until it succeeds, with growing pauses while it fails with one of `unreachable`.

    Raises Stopped when `stop` is set meanwhile; every other error as it is.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            reached = await attempt()
        except unreachable as error:
            log.warning(f"{what} cannot be reached yet; trying again", reason=str(error), pause_seconds=pause)
        else:
            if pause > FIRST_PAUSE:
                log.info(f"{what} is there")
            return reached
        if await is_set_within(stop, pause):
            raise Stopped
        pause = min(pause * 2, MAX_PAUSE)


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, but not longer than this."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def opened(settings: "Settings") -> AsyncIterator["Database"]:
    """The store while the block runs, not connected yet. Raises CommandFailed for a URL that cannot be used."""
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
    """Refuse to work on a database with another schema. Raises CommandFailed, or StoreUnavailable."""
    from store.migrate import pending

    with refusals_explained(database):
        missing = await pending(database)
    if missing:
        raise CommandFailed(
            f"The store's schema is not up to date: {len(missing)} migration(s) are missing ({', '.join(missing)}).",
            status=USAGE,
            hint="Run `playhead db upgrade` with the same PLAYHEAD_DATABASE_URL, then start again.",
        )


@contextmanager
def refusals_explained(database: "Database") -> Iterator[None]:
    """Turn what a database answers that is there but will not work with us into CommandFailed."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        raise CommandFailed(
            f"The database {database.address} refuses: {error.orig}.",
            status=USAGE,
            hint=f"See that it exists and that the user may work in it. {URL_HINT}",
        ) from error
    except LookupError as error:
        raise CommandFailed(str(error), status=USAGE) from error
