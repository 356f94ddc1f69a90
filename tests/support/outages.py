"""Faults of the store: an outage that tests switch on and off, and settlements whose result is lost or late."""

import asyncio
from typing import TypeVar

from contracts.sessions import RecordState, SettleTurnsInput, SettleTurnsResult
from store.database.connection import Database, Work
from store.database.errors import StoreUnavailable
from store.sessions.settlement import SettlementStore

Result = TypeVar("Result")


class BreakableDatabase(Database):
    """A database that is unavailable while `down`; `refused` counts the failed attempts."""

    down = False
    refused = 0

    async def read(self, work: Work[Result]) -> Result:
        self._require_up()
        return await super().read(work)

    async def write(self, work: Work[Result], *, autocommit: bool = False) -> Result:
        self._require_up()
        return await super().write(work, autocommit=autocommit)

    async def has_refused(self) -> bool:
        """True once a request failed because of the outage."""
        return self.refused > 0

    def _require_up(self) -> None:
        if self.down:
            self.refused += 1
            raise StoreUnavailable(self.address, ConnectionRefusedError("scripted outage"))


class ForgetfulSettlement(SettlementStore):
    """Settles, and then fails as if it had not: the result of a transaction can be lost after its commit."""

    def __init__(self, database: Database, *, failures: int) -> None:
        super().__init__(database)
        self._failures_left = failures

    async def settle(self, input: SettleTurnsInput) -> SettleTurnsResult:
        result = await super().settle(input)
        if self._failures_left:
            self._failures_left -= 1
            raise StoreUnavailable("the store", TimeoutError("the answer was lost"))
        return result


class HeldSettlement(SettlementStore):
    """Settles, and returns only once it is released; `holds` is set when it has settled and waits.

    With `record` it holds only the settlements with this state of the record as their result.
    """

    def __init__(self, database: Database, record: RecordState | None = None) -> None:
        super().__init__(database)
        self._held_record = record
        self.holds = asyncio.Event()
        self._may_go = asyncio.Event()

    async def settle(self, input: SettleTurnsInput) -> SettleTurnsResult:
        result = await super().settle(input)
        if self._held_record in (None, result.record):
            self.holds.set()
            await self._may_go.wait()
        return result

    def let_go(self) -> None:
        """Return at once from now on."""
        self._may_go.set()
