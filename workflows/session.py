"""A chat session as one long-lived workflow: it holds the turns, answers them, settles them and ends."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.workflow import ContinueAsNewVersioningBehavior

with workflow.unsafe.imports_passed_through():
    from activities.settlement import SettlementActivities
    from domain import approvals
    from domain import timeline as rules
    from domain.approvals import Decision
    from domain.commands import Decide, EndSession, Rewind, SendMessage
    from domain.contracts import (
        SendMessageResult,
        SessionResult,
        SettleTurnsInput,
        StartSession,
    )
    from domain.engine import TurnProgress
    from domain.refusals import Refused
    from domain.tree import Timeline, WaitingApproval
    from domain.turns import Turn
    from domain.views import SessionHead, TimelineView, head_of, recorded_head_of, view_of
    from workflows.details import conversation_tail
    from workflows.policies import settling
    from workflows.refusing import refusals_as_errors
    from workflows.search_attributes import updates_for
    from workflows.signals import message_id_of, read_end, read_message, read_rewind
    from workflows.steps import Steps, reason_of

SETTLE_AT_ONCE = 8
"""So many closed turns are settled without waiting for more."""
SETTLE_WITH_NEXT_MESSAGE = 0.85
"""The part of the settling time after which turns are settled along with the next message."""
MOST_UPDATES_PER_RUN = 1_800
"""Temporal takes 2,000 updates in one run."""
MOST_SIGNALS_PER_RUN = 9_000
"""Temporal takes 10,000 signals in one run."""
CHECKED_TURN = "turn_unchecked"
"""Stands for the id of a turn while a command is only being checked; validators must not draw ids."""


@workflow.defn(name="Session")
class SessionWorkflow:
    """One conversation with one pinned version of an agent."""

    @workflow.init
    def __init__(self, start: StartSession) -> None:
        # A signal or an update can run before `run` does: the greeting is opened here, so that it comes first.
        self._start = start
        self._agent = start.definition
        self._steps = Steps(start, self._ask_a_person)
        self._decisions: dict[str, tuple[Decision, str]] = {}
        self._timeline = start.timeline or rules.open_greeting(
            rules.begin_timeline(at=workflow.now()), turn_id=self._new_turn_id(), at=workflow.now()
        )
        self._answering: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._settling = False
        self._updates = 0
        self._signals = 0

    # --- the story of a session ------------------------------------------------------------------

    @workflow.run
    async def run(self, start: StartSession) -> SessionResult:
        """Greet, answer what comes, settle behind the replies, and close once everything is settled."""
        self._show()
        self._start_task(self._settle_behind_the_replies())
        self._start_task(self._end_when_idle())
        while not (self._timeline.is_completed and self._is_settled()):
            if self._may_continue_as_new():
                workflow.continue_as_new(
                    start.model_copy(update={"timeline": self._timeline}),
                    # A session keeps the code it began with only until its next run.
                    initial_versioning_behavior=ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
                )
            self._answer_pending_turns()
            await workflow.wait_condition(self._needs_attention)
            self._surface_errors()
        return SessionResult(
            completion_reason=self._timeline.completion_reason or "",
            revision=self._timeline.revision,
            turns=len(self._timeline.turns),
        )

    def _answer_pending_turns(self) -> None:
        for turn_id in self._timeline.pending:
            if turn_id not in self._answering:
                self._answering.add(turn_id)
                self._start_task(self._answer(self._timeline.turns[turn_id]))

    async def _answer(self, turn: Turn) -> None:
        """Take a turn from its user message to its answer, step by step."""
        await self._fetch_before_the_first_opening(turn)
        progress = self._steps.begin(turn, self._timeline.checkpoint_before(turn.parent_id))
        try:
            while progress.due and self._timeline.is_awaited(turn.id):
                progress = await self._steps.go_on(progress, progress.due)
        except ActivityError as error:
            progress = progress.failed(reason_of(error))
        self._close(progress)
        self._answering.discard(turn.id)

    async def _fetch_before_the_first_opening(self, turn: Turn) -> None:
        """Look up, once, what the agent wants to know before it opens the conversation."""
        wanted = self._agent.pre_call_fetch
        if wanted and self._timeline.fetched_context is None:
            fetched = await self._steps.fetch(turn, wanted)
            self._change(rules.note_fetched(self._timeline, fetched, at=workflow.now()))
        self._steps.know(self._timeline.fetched_context or {})

    async def _ask_a_person(self, approval: WaitingApproval) -> tuple[Decision, str]:
        """Wait, durably, until somebody decides on a tool call, its time is over, or its turn is no longer awaited."""
        self._change(approvals.ask(self._timeline, approval, at=workflow.now()))
        is_settled = partial(self._is_decided_or_moot, approval)
        with suppress(TimeoutError):
            await workflow.wait_condition(is_settled, timeout=approval.expires_at - workflow.now())
        if approval.call_id not in self._decisions:
            self._change(approvals.expire(self._timeline, approval.call_id, at=workflow.now()))
        return self._decisions.pop(approval.call_id, ("expired", ""))

    def _close(self, progress: TurnProgress) -> None:
        close = rules.interrupt if progress.due else rules.complete
        if progress.outcome == "failed":
            close = rules.fail
        self._change(close(self._timeline, progress, self._agent.limits, at=workflow.now()))

    async def _settle_behind_the_replies(self) -> None:
        """Bill and record what happened: several turns at once when they come fast, everything before the end."""
        while True:
            await workflow.wait_condition(self._has_unrecorded)
            await self._wait_for_more_to_settle()
            await self._settle_once()

    async def _end_when_idle(self) -> None:
        """End the session when nothing happened for as long as the agent allows."""
        limit = timedelta(seconds=self._agent.limits.inactivity_seconds)
        while not self._timeline.is_completed:
            idle_until = self._timeline.updated_at + limit
            if workflow.now() < idle_until:
                await self._completed_within(idle_until - workflow.now())
            elif self._timeline.pending:
                await workflow.wait_condition(lambda: not self._timeline.pending)
            else:
                idle = EndSession(reason="user_idle_max_duration_exceeded")
                self._change(rules.end(self._timeline, idle, at=workflow.now()))

    # --- what can be asked for -------------------------------------------------------------------

    @workflow.update
    async def send_message(self, command: SendMessage) -> SendMessageResult:
        """Open a turn for the message, and return it once it is answered (or only accepted)."""
        self._updates += 1
        previous_version = self._timeline.version
        turn_id = self._new_turn_id()
        with refusals_as_errors():
            self._change(rules.send(self._timeline, command, turn_id=turn_id, at=workflow.now()))
        sent_before = self._timeline.message_sent_before(command.message_id)
        turn_id = sent_before.turn_id if sent_before else turn_id
        if command.wait:
            await workflow.wait_condition(lambda: self._timeline.is_closed(turn_id))
        return self._message_result(turn_id, previous_version)

    @send_message.validator
    def check_send_message(self, command: SendMessage) -> None:
        with refusals_as_errors():
            rules.send(self._timeline, command, turn_id=CHECKED_TURN, at=workflow.now())

    @workflow.update
    async def rewind(self, command: Rewind) -> SessionHead:
        """Point the cursor at a turn, or before it."""
        self._updates += 1
        with refusals_as_errors():
            self._change(rules.rewind(self._timeline, command, at=workflow.now()))
        return self.status()

    @rewind.validator
    def check_rewind(self, command: Rewind) -> None:
        with refusals_as_errors():
            rules.rewind(self._timeline, command, at=workflow.now())

    @workflow.update
    async def end(self, command: EndSession) -> SessionHead:
        """End the session; what was spent is settled before it closes."""
        self._updates += 1
        with refusals_as_errors():
            self._change(rules.end(self._timeline, command, at=workflow.now()))
        return self.status()

    @end.validator
    def check_end(self, command: EndSession) -> None:
        with refusals_as_errors():
            rules.end(self._timeline, command, at=workflow.now())

    @workflow.update
    async def approve(self, command: Decide) -> SessionHead:
        """Let a tool call that waits for a person be made."""
        return self._decide(command, "approved")

    @approve.validator
    def check_approve(self, command: Decide) -> None:
        with refusals_as_errors():
            approvals.decide(self._timeline, command, "approved", at=workflow.now())

    @workflow.update
    async def deny(self, command: Decide) -> SessionHead:
        """Refuse a tool call that waits for a person; the model is told the reason."""
        return self._decide(command, "denied")

    @deny.validator
    def check_deny(self, command: Decide) -> None:
        with refusals_as_errors():
            approvals.decide(self._timeline, command, "denied", at=workflow.now())

    @workflow.update
    async def await_greeting(self) -> SessionHead:
        """Wait until the agent has opened the conversation, or failed to."""
        self._updates += 1
        await workflow.wait_condition(lambda: bool(self._timeline.turns) and not self._timeline.pending)
        return self.status()

    @workflow.signal
    def user_message(self, *written: object) -> None:
        """Say something; it waits its turn when the agent is busy. Plain text will do."""
        self._obey("user_message", written, lambda: self._receive(read_message(written)))

    @workflow.signal
    def rewind_to(self, *written: object) -> None:
        """Rewind as the update does. The bare id of a turn will do."""
        self._obey("rewind_to", written, lambda: rules.rewind(self._timeline, read_rewind(written), at=workflow.now()))

    @workflow.signal
    def end_session(self, *written: object) -> None:
        """End as the update does; needs no argument."""
        self._obey("end_session", written, lambda: rules.end(self._timeline, read_end(written), at=workflow.now()))

    @workflow.query
    def timeline(self) -> TimelineView:
        """The conversation as people see it, with the branches that were given up."""
        return view_of(self._timeline, self._agent, workflow.info().run_id)

    @workflow.query
    def status(self) -> SessionHead:
        """Everything that is small and changes."""
        return head_of(self._timeline, self._agent, workflow.info().run_id)

    # --- steps -----------------------------------------------------------------------------------

    async def _wait_for_more_to_settle(self) -> None:
        """Wait for the time in which turns are settled together, or for a reason not to.

        The next message is one, once a good part of that time is over: settling then shares its workflow task.
        """
        settle_within = timedelta(seconds=self._start.timing.settle_within)
        soon = workflow.now() + settle_within * SETTLE_WITH_NEXT_MESSAGE
        try:
            await workflow.wait_condition(
                lambda: self._must_settle_now() or (bool(self._timeline.pending) and workflow.now() >= soon),
                timeout=settle_within,
            )
        except TimeoutError:
            return

    async def _settle_once(self) -> None:
        self._settling = True
        self._timeline, unrecorded = rules.take_unrecorded(self._timeline)
        turns = tuple(self._timeline.turns[turn_id] for turn_id in unrecorded.turn_ids)
        self._publish()
        await workflow.execute_activity_method(
            SettlementActivities.settle_turns,
            SettleTurnsInput(
                session_id=self._start.session_id,
                organization_id=self._start.organization_id,
                agent=self._start.agent,
                head=recorded_head_of(self._timeline, self._agent, workflow.info().run_id),
                turns=turns,
                branches=unrecorded.branches,
                facts=unrecorded.facts,
            ),
            summary=f"{len(turns)} turns",
            **settling(self._start.timing),
        )
        self._settling = False

    async def _completed_within(self, wait: timedelta) -> None:
        try:
            await workflow.wait_condition(
                lambda: self._timeline.is_completed, timeout=wait, timeout_summary="inactivity"
            )
        except TimeoutError:
            return

    # --- predicates and small change -------------------------------------------------------------

    def _decide(self, command: Decide, decision: Decision) -> SessionHead:
        self._updates += 1
        with refusals_as_errors():
            self._change(approvals.decide(self._timeline, command, decision, at=workflow.now()))
        self._decisions[command.call_id] = (decision, command.reason)
        return self.status()

    def _is_decided_or_moot(self, approval: WaitingApproval) -> bool:
        return approval.call_id in self._decisions or not self._timeline.is_awaited(approval.turn_id)

    def _needs_attention(self) -> bool:
        unanswered = any(turn_id not in self._answering for turn_id in self._timeline.pending)
        may_close = self._timeline.is_completed and self._is_settled()
        return unanswered or any(map(_is_broken, self._tasks)) or may_close or self._may_continue_as_new()

    def _is_settled(self) -> bool:
        """Whether everything is answered, billed and recorded, and everybody who asked has been told."""
        unsettled = self._settling or self._has_unrecorded()
        return not self._timeline.pending and not unsettled and workflow.all_handlers_finished()

    def _may_continue_as_new(self) -> bool:
        """Whether this run is long enough, and at a point where a new one can take over.

        The timeline carries turns that nobody has begun to answer and what is still to be settled. Waiting for a
        moment without either would never end while somebody talks without a pause.
        """
        is_busy = bool(self._answering) or self._settling or not workflow.all_handlers_finished()
        return not is_busy and not self._timeline.is_completed and self._wants_to_continue_as_new()

    def _has_unrecorded(self) -> bool:
        return not self._timeline.unrecorded.is_empty

    def _must_settle_now(self) -> bool:
        many = len(self._timeline.unrecorded.turn_ids) >= SETTLE_AT_ONCE
        finished = self._timeline.is_completed and not self._timeline.pending
        return many or finished

    def _wants_to_continue_as_new(self) -> bool:
        return (
            workflow.info().is_continue_as_new_suggested()
            or workflow.info().is_target_worker_deployment_version_changed()
            or self._updates >= MOST_UPDATES_PER_RUN
            or self._signals >= MOST_SIGNALS_PER_RUN
        )

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks = [task for task in self._tasks if not task.done() or _is_broken(task)]
        self._tasks.append(asyncio.create_task(work))

    def _surface_errors(self) -> None:
        """Let a broken task fail the workflow task: Temporal shows it and tries again, once it is mended."""
        for task in filter(_is_broken, self._tasks):
            task.result()

    def _change(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._show()

    def _show(self) -> None:
        workflow.set_current_details(conversation_tail(self._timeline))

    def _publish(self) -> None:
        """Bring the search attributes up to date, where they differ: each change costs an event."""
        changed = updates_for(self.status(), workflow.info().typed_search_attributes)
        if changed:
            workflow.upsert_search_attributes(changed)

    def _new_turn_id(self) -> str:
        return f"turn_{workflow.uuid4().hex[:12]}"

    def _message_result(self, turn_id: str, previous_version: int) -> SendMessageResult:
        turn = self._timeline.turns.get(turn_id) or self._queued_turn(turn_id)
        without_text = turn.model_copy(update={"user_message": None, "checkpoint": None})
        return SendMessageResult(turn=without_text, head=self.status(), previous_version=previous_version)

    def _queued_turn(self, turn_id: str) -> Turn:
        """The turn that a waiting message will open; a message that lost its place was refused."""
        for place, queued in enumerate(self._timeline.queue, start=1):
            if queued.turn_id == turn_id:
                head = self._timeline.head
                index = (head.index if head else -1) + place
                return Turn(id=turn_id, parent_id=None, index=index, created_at=queued.message.created_at)
        raise ApplicationError(
            "The message waited for its turn when the session was rewound or ended, and was not answered.",
            type="session_ended" if self._timeline.is_completed else "superseded",
            non_retryable=True,
        )

    def _receive(self, command: SendMessage) -> Timeline:
        return rules.send(self._timeline, command, turn_id=self._new_turn_id(), at=workflow.now())

    def _obey(self, name: str, written: tuple[object, ...], rule: Callable[[], Timeline]) -> None:
        """Apply a signal's command. Nobody hears a signal's refusal, so it is written to the timeline."""
        self._signals += 1
        try:
            self._change(rule())
        except Refused as refused:
            noted = rules.note_refusal(self._timeline, name, refused.refusal, message_id_of(written), at=workflow.now())
            self._change(noted)


def _is_broken(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
