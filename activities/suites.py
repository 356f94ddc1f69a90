"""What a suite has done for it: runs written down and recorded, sessions priced, and a look at who has closed."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from contracts.sessions import session_workflow_id
from contracts.suites import (
    AwaitSessionsInput,
    AwaitSessionsResult,
    BeginRunInput,
    BeginRunResult,
    NoteSuiteInput,
    PriceRunInput,
    RecordRunInput,
    RunPrice,
)
from domain.sessions.command_handlers import fork

if TYPE_CHECKING:
    from store.recorded_sessions import RecordedSessions
    from store.suites import SuiteStore


class SuiteActivities:
    """Keeps the record of suites. Everything here may be done twice and counts once."""

    def __init__(self, store: "SuiteStore", histories: "RecordedSessions") -> None:
        self._store = store
        self._histories = histories

    @activity.defn
    async def begin_run(self, input: BeginRunInput) -> BeginRunResult:
        """Write down a run and its session, unless they are there already, and tell the past it goes on from.

        Fails for good, with type `not_found`, when that past is not recorded (any more). The run stands by then.
        """
        if input.history is None:
            await self._store.begin_run(input)
            return BeginRunResult()
        past = await self._histories.past(input.organization_id, input.history)
        await self._store.begin_run(input, past)
        if past is None:
            raise ApplicationError(
                f"The session {input.history.session} that the scenario goes on from is not recorded.",
                type="not_found",
                non_retryable=True,
            )
        timeline = fork(past.turns, past.session_id, at=input.at)
        return BeginRunResult(timeline=timeline, initial_context=past.initial_context)

    @activity.defn
    async def price_run(self, input: PriceRunInput) -> RunPrice:
        """What a session has cost so far, to the last model call that was bought for it."""
        return await self._store.price(input.session_id)

    @activity.defn
    async def record_run(self, input: RecordRunInput) -> RunPrice:
        """Write down what came of a run, with what it cost in the end. The first record of a run stays."""
        return await self._store.record_run(input)

    @activity.defn
    async def note_suite(self, input: NoteSuiteInput) -> None:
        """Write down how a suite stands, unless something newer is known."""
        await self._store.note(input)

    @activity.defn
    async def await_sessions(self, input: AwaitSessionsInput) -> AwaitSessionsResult:
        """Wait until one of the sessions has closed, or the time is over; tell all that have by then."""
        client = activity.client()
        async with heartbeats():
            waiting = {asyncio.create_task(_closed(client, session_id)) for session_id in input.session_ids}
            try:
                closed, _ = await asyncio.wait(waiting, timeout=input.seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
        return AwaitSessionsResult(closed=tuple(sorted(task.result() for task in closed)))


async def _closed(client: Client, session_id: str) -> str:
    """The session's id, once its workflow has closed, in whatever way and however often it continues as new."""
    with suppress(WorkflowFailureError):
        await client.get_workflow_handle(session_workflow_id(session_id)).result()
    return session_id
