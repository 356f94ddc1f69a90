"""A chat session as one long-lived workflow: it holds the turns, answers them, settles them and ends."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.workflow import ContinueAsNewVersioningBehavior

from contracts.reconciliation import UnsettledInput, UnsettledTurns
from contracts.sessions import (
    CONTINUED_AS_NEW,
    ReturnResultsResult,
    SendMessageResult,
    SessionResult,
    StartSession,
    session_workflow_id,
)
from domain.rejections import CommandRejected
from domain.sessions import approvals, client_calls, simulated_caller
from domain.sessions import command_handlers as rules
from domain.sessions.approvals import Decision
from domain.sessions.caller_config import SetSimulator
from domain.sessions.commands import (
    CancelTurn,
    DecideApproval,
    EditMessage,
    EndSession,
    Regenerate,
    RestoreBranch,
    ReturnResults,
    Rewind,
    SendMessage,
)
from domain.sessions.timeline import Timeline, record_rejection
from domain.sessions.views import SessionHead, TimelineView, view_of
from domain.turns.turn import Turn
from workflows.background_tasks import BackgroundTasks
from workflows.errors import rejections_as_errors
from workflows.session.lifecycle import SessionLifecycle
from workflows.session.recovery import SessionRecovery
from workflows.session.settlement import SettlementLoop
from workflows.session.signals import message_id_of, read_end, read_message, read_rewind, read_switch
from workflows.session.simulated_caller import SimulatedCaller
from workflows.session.state import SessionState, new_turn_id
from workflows.session.summarizer import Summarizer
from workflows.session.turn_runner import TurnRunner

CONTINUE_AFTER_EVENTS = 1_000
"""Events of one run, plus one for each turn. A worker that does not have a session in memory replays its run, which
takes half a millisecond an event. The end of a run costs more with every turn: the next run receives all of them."""
PATIENCE_EVENTS = 300
"""Events for which the end of a run waits for a moment in which nothing is being settled."""
CONTINUE_AFTER_UPDATES = 1_800
"""Temporal accepts 2,000 updates in one run."""
CONTINUE_AFTER_SIGNALS = 9_000
"""Temporal accepts 10,000 signals in one run."""
MAX_UPDATES_PER_RUN = 1_900
MAX_EVENTS_PER_RUN = 25_000
"""Temporal ends a workflow after 51,200 events."""
MAX_BYTES_PER_RUN = 25_000_000
"""Temporal ends a workflow after 50 MB of history."""
CHECKED_TURN = "turn_unchecked"
"""Stands for the id of a turn while a command is only being checked; validators must not generate ids."""

COMMAND_NAMES = {SendMessage: "send_message", EditMessage: "edit", Regenerate: "regenerate"}

Opening = TypeVar("Opening", SendMessage, EditMessage, Regenerate)
Command = TypeVar("Command", CancelTurn, Rewind, RestoreBranch, EndSession, DecideApproval, ReturnResults, SetSimulator)
Command_contra = TypeVar("Command_contra", contravariant=True)


class OpeningRule(Protocol[Command_contra]):
    """A rule that opens a turn."""

    def __call__(self, timeline: Timeline, command: Command_contra, /, *, turn_id: str, at: datetime) -> Timeline: ...


class Rule(Protocol[Command_contra]):
    """A rule that changes a session without opening a turn."""

    def __call__(self, timeline: Timeline, command: Command_contra, /, *, at: datetime) -> Timeline: ...


@workflow.defn(name="Session")
class SessionWorkflow:
    """One conversation with one pinned version of an agent."""

    @workflow.init
    def __init__(self, start: StartSession) -> None:
        # A signal or an update can run before `run` does: the greeting is opened here, so that it comes first.
        self._state = SessionState(start, _with_caller(start, start.timeline or _greeting()))
        self._tasks = BackgroundTasks()
        self._recovery = SessionRecovery(self._state)
        self._settling = SettlementLoop(
            self._state, self._recovery, keeps_the_end=lambda: self._ending.completion_comes_last
        )
        self._summaries = Summarizer(self._state, self._tasks)
        self._simulating = SimulatedCaller(self._state, may_begin=lambda: not self._is_long())
        self._replies = TurnRunner(
            self._state,
            self._tasks,
            self._recovery,
            self._settling,
            caller=self._simulating,
            summarizer=self._summaries,
        )
        self._ending = SessionLifecycle(self._state, self._replies.steps)
        self._releases_callers = False
        self._updates = 0
        self._signals = 0

    # --- the story of a session ------------------------------------------------------------------

    @workflow.run
    async def run(self, start: StartSession) -> SessionResult:
        """Greet, answer messages, settle behind the replies, and close once everything is settled."""
        await self._require_own_session()
        self._state.update_details()
        self._tasks.start(self._recovery.recover_when_due())
        self._tasks.start(self._settling.settle_behind_the_replies())
        self._tasks.start(self._ending.end_when_idle())
        self._tasks.start(self._ending.extract_after_the_end())
        self._tasks.start(self._simulating.play())
        while not self._may_close():
            if self._may_continue_as_new():
                workflow.continue_as_new(
                    self._next_run(start),
                    # A session keeps the code it began with only until its next run.
                    initial_versioning_behavior=ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
                )
            if self._must_release_callers():
                self._releases_callers = True
            else:
                self._replies.begin()
            await self._until(self._needs_attention)
            self._tasks.surface_errors()
            if self._recovery.is_another_execution:
                raise _not_its_session("The session was begun by another workflow, whose record stays as it is.")
        report = self._tasks.start(self._ending.report())
        await self._until(report.done)
        self._tasks.surface_errors()
        return SessionResult(
            completion_reason=self._timeline.completion_reason or "",
            revision=self._timeline.revision,
            turns=len(self._timeline.turns),
        )

    def _next_run(self, start: StartSession) -> StartSession:
        """The input of the next run, with the timeline of this one."""
        return start.model_copy(update={"timeline": self._settling.timeline_to_carry})

    async def _require_own_session(self) -> None:
        """Fail a workflow that does not own its session, such as one started by hand with the input of another."""
        session_id = self._state.start.session_id
        if workflow.info().workflow_id != session_workflow_id(session_id):
            raise _not_its_session(
                f"The session {session_id} is the workflow {session_workflow_id(session_id)}, not this one. "
                "To begin another session, create one through the API."
            )
        claim = asyncio.create_task(self._recovery.claim())
        await self._until(claim.done)
        if rejection := claim.result():
            raise _not_its_session(rejection)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition. A workflow that is cancelled meanwhile ends its session, and waits on."""
        while True:
            try:
                await workflow.wait_condition(condition)
                return
            except asyncio.CancelledError:
                self._change(rules.end(self._timeline, EndSession(reason="cancelled"), at=self._state.now()))

    # --- updates, signals and queries ------------------------------------------------------------

    @workflow.update
    async def send_message(self, command: SendMessage) -> SendMessageResult:
        """Open a turn for the message, and return it once it is answered (or only accepted)."""
        return await self._open(rules.send, command)

    @send_message.validator
    def check_send_message(self, command: SendMessage) -> None:
        self._check_opening(rules.send, command)

    @workflow.update
    async def edit(self, command: EditMessage) -> SendMessageResult:
        """Replace the message of a turn, and return the turn that takes its place once it is answered."""
        return await self._open(rules.edit, command)

    @edit.validator
    def check_edit(self, command: EditMessage) -> None:
        self._check_opening(rules.edit, command)

    @workflow.update
    async def regenerate(self, command: Regenerate) -> SendMessageResult:
        """Answer a turn again, and return the turn that takes its place once it is answered."""
        return await self._open(rules.regenerate, command)

    @regenerate.validator
    def check_regenerate(self, command: Regenerate) -> None:
        self._check_opening(rules.regenerate, command)

    @workflow.update
    async def cancel(self, command: CancelTurn) -> SessionHead:
        """Stop the reply that is pending, and return once it has."""
        await self._apply(rules.cancel, command)
        stopping = self._timeline.stopping
        await workflow.wait_condition(lambda: self._releases_callers or all(map(self._timeline.is_closed, stopping)))
        return self.status()

    @cancel.validator
    def check_cancel(self, command: CancelTurn) -> None:
        self._check(rules.cancel, command)

    @workflow.update
    async def rewind(self, command: Rewind) -> SessionHead:
        """Point the cursor at a turn, or before it."""
        return await self._apply(rules.rewind, command)

    @rewind.validator
    def check_rewind(self, command: Rewind) -> None:
        self._check(rules.rewind, command)

    @workflow.update
    async def restore(self, command: RestoreBranch) -> SessionHead:
        """Restore a discarded branch."""
        return await self._apply(rules.restore, command)

    @restore.validator
    def check_restore(self, command: RestoreBranch) -> None:
        self._check(rules.restore, command)

    @workflow.update
    async def end(self, command: EndSession) -> SessionHead:
        """End the session; its usage is settled before it closes."""
        return await self._apply(rules.end, command)

    @end.validator
    def check_end(self, command: EndSession) -> None:
        self._check(rules.end, command)

    @workflow.update
    async def approve(self, command: DecideApproval) -> SessionHead:
        """Approve a tool call that waits for a person."""
        return await self._decide(command, "approved")

    @approve.validator
    def check_approve(self, command: DecideApproval) -> None:
        self._check(partial(approvals.decide, decision="approved"), command)

    @workflow.update
    async def deny(self, command: DecideApproval) -> SessionHead:
        """Deny a tool call that waits for a person; the model receives the reason."""
        return await self._decide(command, "denied")

    @deny.validator
    def check_deny(self, command: DecideApproval) -> None:
        self._check(partial(approvals.decide, decision="denied"), command)

    @workflow.update
    async def return_results(self, command: ReturnResults) -> ReturnResultsResult:
        """Take results of client tools, and return their turn: at once, or when it is closed or needs more of them."""
        self._updates += 1
        await self._recovery.wait_until_done()
        before = self._timeline
        with rejections_as_errors():
            self._change(client_calls.return_results(before, command, at=self._state.now()))
        self._replies.take_results(command.results, before)
        call = client_calls.returned_call(self._timeline, command.results[0].call_id)
        assert call is not None, "the call has got its result"
        if command.wait:
            await self._until_answered(call.turn_id, hands_over=True)
        turn = self._without_text(self._timeline.turns[call.turn_id])
        return ReturnResultsResult(turn=turn, head=self.status(), said=call.said, used=call.used)

    @return_results.validator
    def check_return_results(self, command: ReturnResults) -> None:
        self._check(client_calls.return_results, command)

    @workflow.update
    async def set_simulator(self, command: SetSimulator) -> SessionHead:
        """Switch a simulated user on or off, or hand the conversation back to it."""
        return await self._apply(simulated_caller.set_simulator, command)

    @set_simulator.validator
    def check_set_simulator(self, command: SetSimulator) -> None:
        self._check(simulated_caller.set_simulator, command)

    @workflow.update
    async def await_greeting(self) -> SessionHead:
        """Wait until the agent has opened the conversation, or failed to."""
        self._updates += 1
        await workflow.wait_condition(
            lambda: self._releases_callers or (bool(self._timeline.turns) and not self._timeline.pending)
        )
        return self.status()

    @workflow.signal
    def user_message(self, *arguments: object) -> None:
        """Send a message; it is queued while the agent is busy. Plain text will do."""
        self._handle_signal("user_message", arguments, lambda: self._open_from_signal(read_message(arguments)))

    @workflow.signal
    def rewind_to(self, *arguments: object) -> None:
        """Rewind as the update does. The bare id of a turn will do."""
        self._handle_signal(
            "rewind_to", arguments, lambda: rules.rewind(self._timeline, read_rewind(arguments), at=self._state.now())
        )

    @workflow.signal
    def end_session(self, *arguments: object) -> None:
        """End as the update does; needs no argument."""
        self._handle_signal(
            "end_session", arguments, lambda: rules.end(self._timeline, read_end(arguments), at=self._state.now())
        )

    @workflow.signal
    def switch_simulator(self, *arguments: object) -> None:
        """Switch a simulated user as the update does. A bare true or false will do."""
        self._handle_signal(
            "switch_simulator",
            arguments,
            lambda: simulated_caller.set_simulator(self._timeline, read_switch(arguments), at=self._state.now()),
        )

    @workflow.query
    def timeline(self) -> TimelineView:
        """The visible branch of the session, and its discarded branches."""
        return self._settling.marked(view_of(self._timeline, self._state.agent, workflow.info().run_id))

    @workflow.query
    def status(self) -> SessionHead:
        """The small, changing state of the session."""
        return self._state.head

    @workflow.query
    def unsettled(self, record: UnsettledInput) -> UnsettledTurns:
        """The session compared with the given record; on request, with everything that is not recorded."""
        return self._settling.unsettled(record)

    @workflow.signal
    def compare_record(self) -> None:
        """Compare the session with its record in the store, and bring both together."""
        self._signals += 1
        self._recovery.request()

    @workflow.signal
    def settle(self) -> None:
        """Settle at once, for a new watcher."""
        self._signals += 1
        self._settling.request()

    # --- applying commands ---------------------------------------------------------------------------------

    async def _open(self, rule: OpeningRule[Opening], command: Opening) -> SendMessageResult:
        """Apply a command that opens a turn, and wait for its answer if the command says so."""
        self._updates += 1
        await self._recovery.wait_until_done()
        previous_version = self._timeline.version
        command = self._as_redelivered(command)
        turn_id = self._new_turn_id(command)
        before = self._timeline
        with rejections_as_errors(), self._noting_rejections(command):
            self._change(rule(before, command, turn_id=turn_id, at=self._state.now()))
        if isinstance(command, SendMessage):
            self._replies.take_results(command.results, before)
        opened_before = self._timeline.remembered_message(command.message_id)
        turn_id = opened_before.turn_id if opened_before else turn_id
        if command.wait:
            await self._until_answered(turn_id, hands_over=command.hands_over)
        return self._message_result(turn_id, previous_version)

    async def _until_answered(self, turn_id: str, *, hands_over: bool) -> None:
        """Wait until a turn is closed or, with `hands_over`, waits for its client."""

        def is_handed_over() -> bool:
            return hands_over and self._timeline.waits_for_client(turn_id) and not self._replies.steps.checks_calls

        await workflow.wait_condition(
            lambda: self._releases_callers or self._timeline.is_closed(turn_id) or is_handed_over()
        )
        if not is_handed_over():
            self._require_closed(turn_id)

    def _new_turn_id(self, command: SendMessage | EditMessage | Regenerate) -> str:
        head = self._timeline.head
        content = [head.id if head else "", rules.command_digest(command)]
        if command.options is not None:
            content.append(json.dumps(command.options.model_dump(mode="json"), sort_keys=True))
        return new_turn_id(*content)

    def _as_redelivered(self, command: Opening) -> Opening:
        """The command as it is applied: after a reset, redelivered messages queue, because they arrive all at once."""
        if self._recovery.expects_redelivery and _may_wait(command):
            return command.model_copy(update={"on_busy": "enqueue"})
        return command

    @contextmanager
    def _noting_rejections(self, command: SendMessage | EditMessage | Regenerate) -> Iterator[None]:
        """Record on the timeline the rejection of a command that had been accepted before the session was reset."""
        try:
            yield
        except CommandRejected as rejected:
            noted = record_rejection(
                self._timeline,
                COMMAND_NAMES[type(command)],
                rejected.rejection,
                command.message_id,
                at=self._state.now(),
            )
            self._change(noted)
            raise

    def _check_opening(self, rule: OpeningRule[Opening], command: Opening) -> None:
        if self._recovery.expects_redelivery:
            return
        with rejections_as_errors():
            rule(self._timeline, command, turn_id=CHECKED_TURN, at=self._state.now())

    async def _apply(self, rule: Rule[Command], command: Command) -> SessionHead:
        self._updates += 1
        await self._recovery.wait_until_done()
        with rejections_as_errors():
            self._change(rule(self._timeline, command, at=self._state.now()))
        return self.status()

    def _check(self, rule: Rule[Command], command: Command) -> None:
        with rejections_as_errors():
            rule(self._timeline, command, at=self._state.now())

    async def _decide(self, command: DecideApproval, decision: Decision) -> SessionHead:
        head = await self._apply(partial(approvals.decide, decision=decision), command)
        self._replies.decide(command.call_id, decision, command.reason)
        return head

    def _open_from_signal(self, command: SendMessage) -> Timeline:
        return rules.send(self._timeline, command, turn_id=self._new_turn_id(command), at=self._state.now())

    def _handle_signal(self, name: str, arguments: tuple[object, ...], rule: Callable[[], Timeline]) -> None:
        """Apply a signal's command. A signal has no response, so a rejection is recorded on the timeline."""
        self._signals += 1
        try:
            self._change(rule())
        except CommandRejected as rejected:
            self._change(
                record_rejection(
                    self._timeline, name, rejected.rejection, message_id_of(arguments), at=self._state.now()
                )
            )

    def _change(self, timeline: Timeline) -> None:
        self._state.change(timeline)
        self._replies.stop()

    def _require_closed(self, turn_id: str) -> None:
        if not self._timeline.is_closed(turn_id):
            raise ApplicationError(
                "The session continued as new before the answer was there. Send the message again with the same id: "
                "it joins its turn.",
                type=CONTINUED_AS_NEW,
                non_retryable=True,
            )

    def _message_result(self, turn_id: str, previous_version: int) -> SendMessageResult:
        turn = self._timeline.turns.get(turn_id) or self._queued_turn(turn_id)
        return SendMessageResult(turn=self._without_text(turn), head=self.status(), previous_version=previous_version)

    @staticmethod
    def _without_text(turn: Turn) -> Turn:
        """A turn without its user message, which the client has, and without its internal state."""
        return turn.model_copy(update={"user_message": None, "checkpoint": None, "options": None})

    def _queued_turn(self, turn_id: str) -> Turn:
        """The turn that a queued message will open; a message that was dropped from the queue is rejected."""
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

    # --- predicates ------------------------------------------------------------------------------

    @property
    def _timeline(self) -> Timeline:
        return self._state.timeline

    def _needs_attention(self) -> bool:
        has_turns_to_answer = not self._replies.has_begun_all and not self._releases_callers
        ends_run = self._may_continue_as_new() or (self._must_release_callers() and not self._releases_callers)
        is_broken = self._tasks.are_broken or self._recovery.is_another_execution
        return has_turns_to_answer or is_broken or self._may_close() or ends_run

    def _may_close(self) -> bool:
        """True when everything is answered, extracted, billed and recorded, and every handler has returned."""
        is_busy = self._timeline.pending or self._has_auxiliary_call or self._recovery.is_due
        is_over = self._timeline.is_completed and not is_busy
        return is_over and self._ending.is_over and self._settling.is_done and workflow.all_handlers_finished()

    def _may_continue_as_new(self) -> bool:
        """True when this run is long enough, and at a point where the next one can take over.

        The timeline carries over turns that are not being answered yet, and everything unsettled. A moment without
        either may never come while messages arrive without a pause.
        """
        return self._is_long() and self._is_between_turns() and workflow.all_handlers_finished()

    def _must_release_callers(self) -> bool:
        """True when this run is so long that callers that wait for a reply must ask the next one."""
        return self._is_long() and self._is_too_long() and self._is_between_turns()

    def _is_between_turns(self) -> bool:
        is_busy = self._replies.has_active_turns or self._has_auxiliary_call or self._recovery.is_due
        return not (is_busy or self._timeline.is_completed)

    @property
    def _has_auxiliary_call(self) -> bool:
        """True while a model call is under way that belongs to no turn."""
        return self._simulating.is_under_way or self._summaries.is_under_way

    def _is_long(self) -> bool:
        return (
            workflow.info().is_continue_as_new_suggested()
            or workflow.info().is_target_worker_deployment_version_changed()
            or self._has_many_events()
            or self._updates >= CONTINUE_AFTER_UPDATES
            or self._signals >= CONTINUE_AFTER_SIGNALS
        )

    def _has_many_events(self) -> bool:
        """True for a run of many events; while a settlement is under way or near, PATIENCE_EVENTS later."""
        events_more = workflow.info().get_current_history_length() - CONTINUE_AFTER_EVENTS - len(self._timeline.turns)
        return events_more >= (0 if self._settling.is_quiet else PATIENCE_EVENTS)

    def _is_too_long(self) -> bool:
        info = workflow.info()
        return (
            self._updates >= MAX_UPDATES_PER_RUN
            or info.get_current_history_length() >= MAX_EVENTS_PER_RUN
            or info.get_current_history_size() >= MAX_BYTES_PER_RUN
        )


def _may_wait(command: SendMessage | EditMessage | Regenerate) -> bool:
    return isinstance(command, SendMessage) and command.on_busy is None


def _not_its_session(message: str) -> ApplicationError:
    return ApplicationError(message, type="not_its_session", non_retryable=True)


def _greeting() -> Timeline:
    began_at = workflow.info().workflow_start_time
    began = rules.new_timeline(at=began_at)
    return rules.open_greeting(began, turn_id=new_turn_id(), at=began_at)


def _with_caller(start: StartSession, timeline: Timeline) -> Timeline:
    """The timeline with the simulated user that the session begins with; an earlier run carries it over."""
    if start.simulator is None or timeline.simulator is not None:
        return timeline
    return simulated_caller.start_simulation(timeline, start.simulator, at=workflow.info().workflow_start_time)
