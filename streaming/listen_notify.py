"""Notes between processes over PostgreSQL's LISTEN and NOTIFY: one connection, found again when it is lost."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import URL, NullPool
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

MAX_NOTE = 7_900
"""Bytes that fit into one notification; PostgreSQL takes less than 8,000."""
MAX_WAITING = 10_000
"""Notes that wait while the server cannot be reached; of more, the oldest are lost."""
MAX_AT_ONCE = 100
CONNECT_SECONDS = 10
RETRY_SECONDS = 1.0

_NOTIFY = "SELECT pg_notify(note.channel, note.text) FROM unnest($1::text[], $2::text[]) AS note(channel, text)"

log = logging.getLogger(__name__)


class ListenNotifyChannel:
    """Posts notes and hears those of other processes. A note that is posted while nobody listens is lost.

    `heard` is called with the channel and the text of every note, `connected` whenever listening has begun anew.
    """

    def __init__(
        self,
        url: URL,
        channels: Sequence[str],
        *,
        heard: Callable[[str, str], None],
        connected: Callable[[], None],
    ) -> None:
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            connect_args={"timeout": CONNECT_SECONDS, "server_settings": {"application_name": "playhead live"}},
        )
        self._channels = channels
        self._heard = heard
        self._connected = connected
        self.waiting: deque[tuple[str, str]] = deque(maxlen=MAX_WAITING)
        """Notes that are not posted yet, by channel."""
        self._wake = asyncio.Event()

    def post(self, channel: str, text: str) -> None:
        """Leave a note, which takes no time and does not fail. Raises ValueError for one that is too long."""
        if len(text.encode()) > MAX_NOTE:
            raise ValueError(f"a note has {len(text.encode())} bytes; {MAX_NOTE} are the most")
        self.waiting.append((channel, text))
        self._wake.set()

    async def run(self) -> None:
        """Post and listen until cancelled."""
        try:
            while True:
                try:
                    await self._while_connected()
                except (SQLAlchemyError, OSError, TimeoutError) as error:
                    log.warning("live news cannot be exchanged; trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            await self._engine.dispose()

    async def _while_connected(self) -> None:
        async with self._engine.connect() as connection:
            # asyncpg's own connection: SQLAlchemy has no words for LISTEN, and no public type for what it wraps.
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_termination_listener(lambda _: self._wake.set())
            for channel in self._channels:
                await driver.add_listener(channel, self._hear)
            self._connected()
            while not driver.is_closed():
                await self._post_waiting(driver)
                await self._wake.wait()

    async def _post_waiting(self, driver: Any) -> None:
        self._wake.clear()
        while self.waiting:
            notes = [self.waiting.popleft() for _ in range(min(len(self.waiting), MAX_AT_ONCE))]
            channels, texts = zip(*notes, strict=True)
            try:
                await driver.execute(_NOTIFY, channels, texts)
            except Exception as error:
                self.waiting.extendleft(reversed(notes))
                raise ConnectionError(str(error)) from error

    def _hear(self, _connection: object, _process: int, channel: str, text: str) -> None:
        self._heard(channel, text)
