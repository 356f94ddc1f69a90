"""Faults of the store: an outage that tests switch on and off, settlements whose answer is lost or is late."""

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
        """True once a request met the outage."""
        return self.refused > 0

    def _require_up(self) -> None:
        if self.down:
            self.refused += 1
            raise StoreUnavailable(self.address, ConnectionRefusedError("scripted outage"))


class ForgetfulSettlement(SettlementStore):
    """Settles, and then fails as if it had not: the answer of a transaction can be lost after it was committed."""

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
    """Settles, and answers only when it is let go; `holds` is set while it has settled and does not answer.

    With `record` it holds only the settlements that find the store so.
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
        """Answer at once from now on."""
        self._may_go.set()
