"""The cache of values of the store: their lifetime, also while the store is down."""

import pytest

from api.http.outage_cache import OUTAGE_SECONDS, OutageCache
from store.database.errors import StoreUnavailable


class Source:
    """A store with one value, which counts how often it is read."""

    def __init__(self) -> None:
        self.value: str | None = "an owner"
        self.is_down = False
        self.reads = 0
        self.time = 0.0
        self.cache: OutageCache[str, str] = OutageCache(10, fresh_seconds=2.0, clock=lambda: self.time)

    async def get(self, key: str = "a key") -> str | None:
        return await self.cache.get(key, self._read)

    async def _read(self) -> str | None:
        self.reads += 1
        if self.is_down:
            raise StoreUnavailable("the store", OSError("down"))
        return self.value


async def test_value_is_read_again_when_it_is_no_longer_fresh() -> None:
    source = Source()
    for at, reads in ((0.0, 1), (1.9, 1), (2.0, 2), (3.9, 2)):
        source.time = at
        assert await source.get() == "an owner"
        assert source.reads == reads
    source.time, source.value = 4.0, None
    assert await source.get() is None


async def test_absence_is_not_cached() -> None:
    source = Source()
    source.value = None
    assert await source.get() is None
    source.value = "an owner"
    assert await source.get() == "an owner"


async def test_known_value_is_returned_while_the_store_is_down_and_not_for_ever() -> None:
    source = Source()
    await source.get()
    source.is_down = True
    source.time = OUTAGE_SECONDS - 1
    assert await source.get() == "an owner"
    with pytest.raises(StoreUnavailable):
        await source.get("another key")
    source.time = OUTAGE_SECONDS
    with pytest.raises(StoreUnavailable):
        await source.get()


async def test_value_that_is_gone_is_not_known_in_the_next_outage() -> None:
    source = Source()
    await source.get()
    source.time, source.value = 2.0, None
    assert await source.get() is None
    source.is_down = True
    with pytest.raises(StoreUnavailable):
        await source.get()
    source.cache.put("a key", "another owner")
    assert await source.get() == "another owner"
    source.cache.forget("a key")
    with pytest.raises(StoreUnavailable):
        await source.get()
