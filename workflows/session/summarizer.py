"""The summaries of a long session, written behind its replies."""

from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.summaries import SummaryActivities
from contracts.summaries import SummarizeTurnsInput, SummarizeTurnsResult
from domain.sessions.timeline import AuxiliaryCall
from domain.sessions.turn_completion import record_auxiliary_call
from domain.turns.summaries import SummaryPoint
from workflows.activity_options import model_call_options
from workflows.background_tasks import BackgroundTasks
from workflows.session.state import SessionState


class Summarizer:
    """Writes one summary at a time, billed as an auxiliary model call. No reply waits for it."""

    def __init__(self, state: SessionState, tasks: BackgroundTasks) -> None:
        self._state = state
        self._tasks = tasks
        self._is_under_way = False
        self._finished = 0

    @property
    def finished(self) -> int:
        """The number of summaries that were written, or failed."""
        return self._finished

    @property
    def is_under_way(self) -> bool:
        """True while a summary is written."""
        return self._is_under_way

    def request(self, point: SummaryPoint) -> None:
        """Start a summary of the conversation up to a step, unless one is being written."""
        if not self._is_under_way and not self._state.timeline.is_completed:
            self._is_under_way = True
            self._tasks.start(self._write(point))

    async def _write(self, point: SummaryPoint) -> None:
        """Write and bill a summary. If it fails, the conversation is cut without it, and a later reply asks again."""
        call = AuxiliaryCall(
            id=point.call_id, purpose="summary", after_turn_id=point.turn_id, created_at=self._state.now()
        )
        with suppress(ActivityError):
            result = await self._summarize(point)
            seconds = round((self._state.now() - call.created_at).total_seconds(), 3)
            usage = result.usage.model_copy(update={"duration_seconds": seconds})
            billed = call.model_copy(update={"usage": usage, "cost": result.cost})
            self._state.change(record_auxiliary_call(self._state.timeline, billed, at=self._state.now()))
        self._is_under_way = False
        self._finished += 1

    async def _summarize(self, point: SummaryPoint) -> SummarizeTurnsResult:
        """Write a summary. When the session ends it is cancelled, and returns its cost so far."""
        start = self._state.start
        writing = workflow.start_activity_method(
            SummaryActivities.summarize_turns,
            SummarizeTurnsInput(
                session_id=start.session_id,
                organization_id=start.organization_id,
                call_id=point.call_id,
                turn_id=point.turn_id,
                digest=point.digest,
                agent=start.agent,
                model=start.model,
                timeout=start.timing.model_timeout,
                price_per_second=start.price_per_second,
            ),
            summary="summary of the conversation",
            **model_call_options(start.timing),
        )
        await workflow.wait_condition(lambda: writing.done() or self._state.timeline.is_completed)
        if not writing.done():
            writing.cancel()
        return await writing
