"""A fake session workflow for suites, with a duration set by the test."""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from contracts.sessions import SessionResult, StartSession


@workflow.defn(name="Session")
class PlayedSession:
    """Runs the activity `play`, until it is over or the session is ended."""

    def __init__(self) -> None:
        self._ended = ""

    @workflow.run
    async def run(self, start: StartSession) -> SessionResult:
        """Play one session."""
        playing = asyncio.create_task(self._play(start))
        await workflow.wait_condition(lambda: playing.done() or bool(self._ended))
        playing.cancel()
        return SessionResult(completion_reason=self._ended or "caller_hung_up", revision=1, turns=1)

    @workflow.signal
    def end_session(self, command: dict[str, Any]) -> None:
        """End it, as a suite that is cancelled does."""
        self._ended = str(command["reason"])

    async def _play(self, start: StartSession) -> None:
        await workflow.execute_activity(
            "play",
            start,
            start_to_close_timeout=timedelta(minutes=1),
            heartbeat_timeout=timedelta(seconds=10),
            cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        )
