"""Sessions of many turns and runs: a late turn costs as much as an early one."""

from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from store.database.connection import Database
from tests.support.provider import ScriptedModel
from tests.support.session_stack import QUICK, SessionHandle, SessionStack, reply_text, session_worker
from tests.support.short_runs import shorten_runs

Scripted = Callable[..., ScriptedModel]

TURNS = 147
PER_RUN = 48
"""Messages after which a run of these tests ends; in production it takes some eighty or more."""
TEXT = "{number:03}: is there anything else that I could do in the library on a rainy day like this one?"
BYTES_OF_A_TURN = 5 * 1_024
"""The limit for one turn in the history, besides its text three times: as an update, an input and a result."""


CARRY = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
)
"""Events with the state that is passed from run to run: of no turn, and with a reference once it is large."""


@pytest_asyncio.fixture
async def stack(client: Client, database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SessionStack]:
    """A stack on which runs are short."""
    stack = SessionStack.on(client, database, f"long-{uuid4().hex[:8]}")
    shorten_runs(monkeypatch, stack.task_queue, CONTINUE_AFTER_UPDATES=PER_RUN)
    async with session_worker(stack):
        yield stack


async def test_a_turn_leaves_as_little_history_late_in_a_session_as_early(
    stack: SessionStack, scripted: Scripted
) -> None:
    # Every turn is settled by itself, as when a person thinks before they answer: that costs the most.
    alone = QUICK.model_copy(update={"settle_within": 0.0})
    session = await stack.open(model=scripted().string, timing=alone)
    replies = []
    for number in range(TURNS):
        replies.append(reply_text((await session.say(TEXT.format(number=number))).turn))
    assert replies == [f"You said: {TEXT.format(number=number)}" for number in range(TURNS)]
    assert len(await session.billed(TURNS + 1)) == TURNS + 1
    text = len(TEXT.format(number=0)) + len(replies[0])
    first, *others = await runs_of(session)
    assert len(others) >= 2
    early, late = bytes_of_a_turn(first), bytes_of_a_turn([event for run in others for event in run])
    assert early < BYTES_OF_A_TURN + 3 * text
    assert late < 1.05 * early


def bytes_of_a_turn(events: list[HistoryEvent]) -> float:
    """The size of events, for each message in them."""
    accepted = (event.workflow_execution_update_accepted_event_attributes for event in events)
    turns = sum(update.accepted_request.input.name == "send_message" for update in accepted)
    return sum(event.ByteSize() for event in events if event.event_type not in CARRY) / turns


async def runs_of(session: SessionHandle) -> list[list[HistoryEvent]]:
    """The events of every run of a session, oldest run first."""
    client = session.stack.client
    runs: list[list[HistoryEvent]] = []
    run_id: str | None = (await session.handle.describe()).run_id
    while run_id:
        history = await client.get_workflow_handle(session.workflow_id, run_id=run_id).fetch_history()
        runs.insert(0, list(history.events))
        run_id = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return runs
