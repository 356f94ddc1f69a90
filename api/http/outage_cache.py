"""A cache of values from the store, which are still returned while the store is down."""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from cachetools import TTLCache

from store.database.errors import StoreUnavailable

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

OUTAGE_SECONDS: Final = 300.0
"""Maximum age of a value that is returned while the store is down."""


class OutageCache(Generic[Key, Value]):
    """Caches values for `fresh_seconds`, and for longer while the store cannot be read. Absence is never cached."""

    def __init__(self, size: int, fresh_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._values: TTLCache[Key, tuple[Value, float]] = TTLCache(size, OUTAGE_SECONDS, timer=clock)

    async def get(self, key: Key, read: Callable[[], Awaitable[Value | None]]) -> Value | None:
        """The cached value, or what `read` returns. Raises StoreUnavailable when there is neither."""
        known = self._values.get(key)
        if known is not None and self._clock() < known[1]:
            return known[0]
        try:
            value = await read()
        except StoreUnavailable:
            if known is None:
                raise
            return known[0]
        if value is None:
            self.forget(key)
        else:
            self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Cache a value that was read or written just now."""
        self._values[key] = (value, self._clock() + self._fresh_seconds)

    def forget(self, key: Key) -> None:
        """Remove a value."""
        self._values.pop(key, None)
