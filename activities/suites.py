"""Suite activities: record runs and suites, price sessions, and wait for sessions to close."""

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
    """Records suites and their runs. Every activity is idempotent."""

    def __init__(self, store: "SuiteStore", recorded_sessions: "RecordedSessions") -> None:
        self._store = store
        self._recorded_sessions = recorded_sessions

    @activity.defn
    async def begin_run(self, input: BeginRunInput) -> BeginRunResult:
        """Insert a run and its session unless they exist, and return the recorded session that the run continues.

        Raises a non-retryable ApplicationError of type `not_found` when that session is not recorded (any more);
        the run is inserted all the same. Raises one of type `session_erased`, and inserts nothing, when the session
        of the run was erased, which a reset suite would start once more.
        """
        past = None
        async with heartbeats():
            if input.history is not None:
                past = await self._recorded_sessions.past(input.organization_id, input.history)
            begun = await self._store.begin_run(input, past)
        if not begun:
            raise ApplicationError(
                f"The session {input.session_id} of this run was erased.", type="session_erased", non_retryable=True
            )
        if input.history is None:
            return BeginRunResult()
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
        """The cost of a session so far, including model calls that are not settled yet."""
        async with heartbeats():
            return await self._store.run_price(input.session_id)

    @activity.defn
    async def record_run(self, input: RecordRunInput) -> RunPrice:
        """Save the outcome and final cost of a run. Only the first record of a run counts."""
        async with heartbeats():
            return await self._store.record_run(input)

    @activity.defn
    async def note_suite(self, input: NoteSuiteInput) -> None:
        """Save the state of a suite, unless a newer state is stored."""
        async with heartbeats():
            await self._store.record_status(input)

    @activity.defn
    async def await_sessions(self, input: AwaitSessionsInput) -> AwaitSessionsResult:
        """Wait until one of the sessions closes or the time is over, and return all that are closed by then."""
        client = activity.client()
        async with heartbeats():
            tasks = {asyncio.create_task(_wait_closed(client, session_id)) for session_id in input.session_ids}
            try:
                closed, _ = await asyncio.wait(tasks, timeout=input.seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return AwaitSessionsResult(closed=tuple(sorted(task.result() for task in closed)))


async def _wait_closed(client: Client, session_id: str) -> str:
    """Wait until a session's workflow closes, across its continue-as-new runs, and return the session's id."""
    with suppress(WorkflowFailureError):
        await client.get_workflow_handle(session_workflow_id(session_id)).result()
    return session_id
