"""Messages between processes over PostgreSQL's LISTEN and NOTIFY, on one connection with reconnects."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import URL, NullPool
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

MAX_MESSAGE_BYTES = 7_900
"""Upper bound on one notification; PostgreSQL accepts less than 8,000 bytes."""
MAX_WAITING_MESSAGES = 10_000
"""Upper bound on messages waiting for the connection; beyond it the oldest are dropped."""
MAX_BATCH_MESSAGES = 100
"""Upper bound on messages sent in one statement."""
CONNECT_TIMEOUT_SECONDS = 10
RECONNECT_DELAY_SECONDS = 1.0

_NOTIFY = (
    "SELECT pg_notify(message.channel, message.text) FROM unnest($1::text[], $2::text[]) AS message(channel, text)"
)

log = logging.getLogger(__name__)


class ListenNotifyChannel:
    """Sends messages and receives those of other processes. A message that nobody listens for is lost.

    `on_message` is called with the channel and the text of every message, `on_connected` after every (re)connection.
    """

    def __init__(
        self,
        url: URL,
        channels: Sequence[str],
        *,
        on_message: Callable[[str, str], None],
        on_connected: Callable[[], None],
    ) -> None:
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            connect_args={"timeout": CONNECT_TIMEOUT_SECONDS, "server_settings": {"application_name": "playhead live"}},
        )
        self._channels = channels
        self._on_text = on_message
        self._on_connected = on_connected
        self.waiting: deque[tuple[str, str]] = deque(maxlen=MAX_WAITING_MESSAGES)
        """Messages that are not sent yet, as pairs of channel and text."""
        self._wake = asyncio.Event()

    def publish(self, channel: str, text: str) -> None:
        """Queue a message without blocking. Raises ValueError for one that is too long."""
        if len(text.encode()) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {len(text.encode())} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")
        self.waiting.append((channel, text))
        self._wake.set()

    async def run(self) -> None:
        """Send and listen until cancelled."""
        try:
            while True:
                try:
                    await self._while_connected()
                except (SQLAlchemyError, OSError, TimeoutError) as error:
                    log.warning("live messages cannot be exchanged; reconnecting: %s", error)
                await asyncio.sleep(RECONNECT_DELAY_SECONDS)
        finally:
            await self._engine.dispose()

    async def _while_connected(self) -> None:
        async with self._engine.connect() as connection:
            # asyncpg's own connection: SQLAlchemy does not support LISTEN and has no public type for it.
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_termination_listener(lambda _: self._wake.set())
            for channel in self._channels:
                await driver.add_listener(channel, self._on_message)
            self._on_connected()
            while not driver.is_closed():
                await self._send_waiting(driver)
                await self._wake.wait()

    async def _send_waiting(self, driver: Any) -> None:
        self._wake.clear()
        while self.waiting:
            batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), MAX_BATCH_MESSAGES))]
            channels, texts = zip(*batch, strict=True)
            try:
                await driver.execute(_NOTIFY, channels, texts)
            except Exception as error:
                self.waiting.extendleft(reversed(batch))
                raise ConnectionError(str(error)) from error

    def _on_message(self, _connection: object, _process: int, channel: str, text: str) -> None:
        self._on_text(channel, text)
