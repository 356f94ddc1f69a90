"""Revocation of API keys: ends the open streams of a key within a few seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from store.api_keys import KeyStore
from store.database.errors import StoreUnavailable

CHECK_SECONDS: Final = 2.0
"""Pause between two checks of the keys with open streams: one query for all of them."""
KEY_SCOPE: Final = "playhead.key"
"""The entry of a request's scope that holds the fingerprint of its API key."""


class KeyRevoked(Exception):
    """Raised in a stream whose API key was revoked."""


class StreamRevocation:
    """Ends streams whose API key is revoked. While the store cannot be reached they stay open."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._open: dict[bytes, set[asyncio.Timeout]] = {}
        self._checking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def guarded(self, fingerprint: bytes | None) -> AsyncIterator[None]:
        """Raise KeyRevoked in the block once the key is revoked; without a fingerprint there is no key to check."""
        if fingerprint is None:
            yield
            return
        scope = asyncio.timeout(None)
        try:
            async with scope:
                streams = self._open.setdefault(fingerprint, set())
                streams.add(scope)
                if self._checking is None:
                    self._checking = asyncio.create_task(self._check())
                try:
                    yield
                finally:
                    streams.discard(scope)
                    if not streams:
                        self._open.pop(fingerprint, None)
        except TimeoutError as error:
            if scope.expired():
                raise KeyRevoked from error
            raise

    async def _check(self) -> None:
        """Check the keys while any stream is open."""
        try:
            while self._open:
                await asyncio.sleep(CHECK_SECONDS)
                checked = frozenset(self._open)  # streams of other keys may begin while the store is read
                if not checked:
                    break
                try:
                    valid = await self._keys.valid(checked)
                except StoreUnavailable:
                    continue
                for fingerprint in checked - valid:
                    for stream in self._open.get(fingerprint, ()):
                        if not stream.expired():
                            stream.reschedule(asyncio.get_running_loop().time())
        finally:
            self._checking = None
