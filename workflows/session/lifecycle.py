"""The end of a session: its timers, the extraction after it, and its report."""

from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from contracts.webhooks import DeliverWebhookInput, webhook_workflow_id
from domain.sessions import command_handlers as rules
from domain.sessions import turn_completion
from domain.sessions.commands import EndSession
from domain.sessions.timeline import AuxiliaryCall, CompletionReason
from domain.turns.engine import ExtractionResult, start_checkpoint
from workflows.errors import reason_of
from workflows.session.state import SessionState, new_turn_id
from workflows.session.step_runner import StepRunner
from workflows.webhook_delivery import DeliverWebhookWorkflow


class SessionLifecycle:
    """The timers that end a session, the extraction after its end, and the report of its end."""

    def __init__(self, state: SessionState, steps: StepRunner) -> None:
        self._state = state
        self._steps = steps
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """True when the session has ended and the variables of its last node are extracted."""
        return self._is_over

    @property
    def completion_comes_last(self) -> bool:
        """True when the session has ended and something may still happen in it: its end is recorded last."""
        timeline = self._state.timeline
        if not timeline.is_completed or self._is_over:
            return False
        return bool(timeline.pending) or self._has_final_extraction()

    async def end_when_idle(self) -> None:
        """End the session when nothing happened for as long as the agent allows, or when its time is up."""
        limit = timedelta(seconds=self._state.agent.limits.inactivity_seconds)
        while not self._state.timeline.is_completed:
            now, idle_until, deadline = self._state.now(), self._state.timeline.updated_at + limit, self._deadline()
            if deadline is not None and now >= deadline:
                self._end("deadline")
            elif now < idle_until:
                until = idle_until if deadline is None else min(idle_until, deadline)
                await self._completed_within(until - now)
            elif self._state.timeline.pending:
                await self._answered_within(None if deadline is None else deadline - now)
            else:
                self._end("user_idle_max_duration_exceeded")

    async def extract_after_the_end(self) -> None:
        """Once the session has ended, read the variables of the node it ended at, and bill that beside the turns."""
        await workflow.wait_condition(lambda: self._state.timeline.is_completed and not self._state.timeline.pending)
        if self._has_final_extraction():
            await self._extract()
        self._is_over = True

    async def report(self) -> None:
        """Start the delivery of the report, if there is a webhook. It continues after the session has closed."""
        start = self._state.start
        if start.webhook is None:
            return
        with suppress(WorkflowAlreadyStartedError):  # reported before the session was reset
            await workflow.start_child_workflow(
                DeliverWebhookWorkflow.run,
                DeliverWebhookInput(
                    session_id=start.session_id,
                    organization_id=start.organization_id,
                    target=start.webhook,
                ),
                id=webhook_workflow_id(start.session_id),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                parent_close_policy=ParentClosePolicy.ABANDON,
                static_summary=f"The end of {start.name}, reported",
            )

    async def _extract(self) -> None:
        timeline, at, call_id = (
            self._state.timeline,
            self._state.now(),
            new_turn_id("extraction", self._state.timeline.leaf_id or ""),
        )
        head = timeline.head
        checkpoint = timeline.checkpoint_before(head.id if head else None) or start_checkpoint(self._state.agent)
        try:
            extraction = await self._steps.extract_at_the_end(checkpoint, call_id)
        except ActivityError as error:
            extraction = ExtractionResult(error=reason_of(error))
        seconds = round((self._state.now() - at).total_seconds(), 3)
        call = AuxiliaryCall(
            id=call_id,
            purpose="extraction",
            after_turn_id=head.id if head else None,
            created_at=at,
            usage=extraction.usage.model_copy(update={"duration_seconds": seconds}),
            cost=extraction.cost,
            error=extraction.error,
        )
        self._state.change(
            turn_completion.record_extraction(self._state.timeline, call, extraction, at=self._state.now())
        )

    def _has_final_extraction(self) -> bool:
        """True when the current node has variables, and a user has sent a message."""
        timeline = self._state.timeline
        node = self._state.agent.nodes[self._state.head.current_node_id]
        spoken = any(turn.user_message for turn in timeline.visible_turns())
        return bool(node.extract) and spoken

    def _end(self, reason: CompletionReason) -> None:
        self._state.change(rules.end(self._state.timeline, EndSession(reason=reason), at=self._state.now()))

    def _deadline(self) -> datetime | None:
        seconds = self._state.agent.limits.deadline_seconds
        return None if seconds is None else self._state.timeline.created_at + timedelta(seconds=seconds)

    async def _completed_within(self, wait: timedelta) -> None:
        try:
            await workflow.wait_condition(
                lambda: self._state.timeline.is_completed, timeout=wait, timeout_summary="inactivity"
            )
        except TimeoutError:
            return

    async def _answered_within(self, wait: timedelta | None) -> None:
        try:
            await workflow.wait_condition(
                lambda: not self._state.timeline.pending, timeout=wait, timeout_summary="deadline"
            )
        except TimeoutError:
            return
