"""Records that are settled beside a model call, when the call ends or is cancelled first."""

import asyncio
from datetime import UTC, datetime

from activities.settlement import Recorder
from contracts.sessions import AgentRef, SettleTurnsInput, SettleTurnsResult
from domain.sessions.timeline import Timeline
from domain.sessions.views import recorded_head_of
from store.sessions.settlement import SettlementStore
from tests.support.agents import CLERK

AT = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = SettleTurnsInput(
    session_id="ses_1",
    organization_id="org_1",
    agent=AgentRef(id="agt_1", version=1),
    head=recorded_head_of(Timeline(created_at=AT, updated_at=AT), CLERK, "run_1"),
)


class SlowStore(SettlementStore):
    """A settlement that begins and waits until it may end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def settle(self, input: SettleTurnsInput) -> SettleTurnsResult:
        self.begun.set()
        await self.may_end.wait()
        return SettleTurnsResult(billed=1)


async def replied(store: SlowStore) -> str:
    """Make a model call that ends at once; returns its reply and the state of its record."""
    async with Recorder(store).settled_beside(RECORD) as travelling:
        reply = "At nine."
    return f"{reply} {travelling.state}"


async def test_a_record_that_is_settled_in_time_returns_its_comparison() -> None:
    store = SlowStore()
    store.may_end.set()
    assert await replied(store) == "At nine. agrees"


async def test_a_reply_waits_only_shortly_for_its_record() -> None:
    assert await replied(SlowStore()) == "At nine. None"


async def test_a_reply_is_not_lost_when_it_is_cancelled_while_its_record_is_settled() -> None:
    store = SlowStore()
    call = asyncio.create_task(replied(store))
    await store.begun.wait()
    call.cancel()
    assert await call == "At nine. None"
