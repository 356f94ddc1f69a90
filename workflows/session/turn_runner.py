"""The replies of a session: each pending turn is answered by a task of its own, which can be stopped."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.sessions import approvals, client_calls, turn_completion
from domain.sessions import command_handlers as rules
from domain.sessions.approvals import Decision
from domain.sessions.commands import ClientResult
from domain.sessions.timeline import Timeline, WaitingApproval, WaitingClientCall
from domain.turns.engine import TurnProgress
from domain.turns.turn import Turn
from workflows.background_tasks import BackgroundTasks
from workflows.errors import code_of, reason_of
from workflows.session.recovery import SessionRecovery
from workflows.session.settlement import SettlementLoop
from workflows.session.simulated_caller import SimulatedCaller
from workflows.session.state import SessionState
from workflows.session.step_runner import StepRunner, ToolWaits
from workflows.session.summarizer import Summarizer


class TurnRunner:
    """The turns of one session that are being answered."""

    def __init__(
        self,
        state: SessionState,
        tasks: BackgroundTasks,
        recovery: SessionRecovery,
        settlement: SettlementLoop,
        *,
        caller: SimulatedCaller,
        summarizer: Summarizer,
    ) -> None:
        self._state = state
        self._tasks = tasks
        self._caller = caller
        waits = ToolWaits(decision=self._request_approval, result=self._request_result)
        self._steps = StepRunner(
            state.start,
            state.now,
            waits=waits,
            restore=recovery.restore,
            records=settlement,
            caller=caller,
            summaries=summarizer,
        )
        self._decisions: dict[str, tuple[Decision, str]] = {}
        self._results: dict[str, ClientResult] = {}
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._stopped: set[str] = set()

    @property
    def has_active_turns(self) -> bool:
        return bool(self._answering)

    @property
    def has_begun_all(self) -> bool:
        return all(turn_id in self._answering for turn_id in self._state.timeline.pending)

    @property
    def steps(self) -> StepRunner:
        """The runner of the steps of this session."""
        return self._steps

    def begin(self) -> None:
        """Start to answer the pending turns that are not being answered yet."""
        for turn_id in self._state.timeline.pending:
            if turn_id not in self._answering:
                turn = self._state.timeline.turns[turn_id]
                self._answering[turn_id] = self._tasks.start(self._answer(turn))

    def stop(self) -> None:
        """Cancel the replies that are to be stopped, with the activities under way for them, once each."""
        for turn_id in self._state.timeline.stopping:
            task = self._answering.get(turn_id)
            if task is not None and turn_id not in self._stopped:
                self._stopped.add(turn_id)
                task.cancel()

    def decide(self, call_id: str, decision: Decision, reason: str) -> None:
        """Pass a person's decision to the tool call that waits for it."""
        self._decisions[call_id] = (decision, reason)

    def take_results(self, results: Sequence[ClientResult], before: Timeline) -> None:
        """Pass accepted results to the tool calls that waited for them in the timeline `before`."""
        waited = {call.call_id for call in before.client_calls}
        self._results.update({result.call_id: result for result in results if result.call_id in waited})

    async def _answer(self, turn: Turn) -> None:
        """Take a turn from its user message to its answer, step by step.

        A cancelled activity returns a partial result, or none; either way the turn is closed with its progress so far.
        """
        await self._fetch_context(turn)
        progress = self._steps.begin(turn, self._state.timeline.checkpoint_before(turn.parent_id))
        try:
            while progress.next_step and self._state.timeline.may_continue(turn.id):
                progress = await self._steps.advance(progress, progress.next_step)
                self._state.is_watched = self._steps.are_watched
                if self._state.is_watched and progress.next_step:
                    self._state.note_progress(turn, progress)
        except ActivityError as error:
            if not (turn.id in self._stopped and is_cancelled_exception(error)):
                progress = progress.failed(reason_of(error), code_of(error))
        except asyncio.CancelledError:
            if turn.id not in self._stopped:
                raise
        self._close(progress)
        if self._steps.line is not None:
            line, self._steps.line = self._steps.line, None
            self._caller.take_line(line)
        self._stopped.discard(turn.id)
        del self._answering[turn.id]

    async def _fetch_context(self, turn: Turn) -> None:
        """Call the agent's pre-call tool, if it has one, before the first reply."""
        tool = self._state.agent.pre_call_fetch
        if tool and self._state.timeline.fetched_context is None:
            fetched = await self._steps.fetch(turn, tool)
            self._state.change(rules.record_fetched_context(self._state.timeline, fetched, at=self._state.now()))
        self._steps.set_fetched_context(self._state.timeline.fetched_context or {})

    async def _request_approval(self, approval: WaitingApproval) -> tuple[Decision, str]:
        """Wait, durably, until somebody decides on a tool call, its time is over, or its turn is stopped."""
        self._state.change(approvals.request(self._state.timeline, approval, at=self._state.now()))
        is_settled = partial(self._is_resolved, approval)
        # If its turn is cancelled, the call is not made, and the approval expires.
        with suppress(TimeoutError, asyncio.CancelledError):
            await workflow.wait_condition(
                is_settled,
                timeout=approval.expires_at - self._state.now(),
                timeout_summary=f"approval of {approval.tool}",
            )
        if approval.call_id not in self._decisions:
            self._state.change(approvals.expire(self._state.timeline, approval.call_id, at=self._state.now()))
        return self._decisions.pop(approval.call_id, ("expired", ""))

    async def _request_result(self, call: WaitingClientCall) -> ClientResult | Literal["expired", "unanswered"]:
        """Wait, durably, until the client returns the result of a call, its time is over, or its turn has ended."""
        self._state.change(client_calls.request(self._state.timeline, call, at=self._state.now()))
        with suppress(TimeoutError, asyncio.CancelledError):
            await workflow.wait_condition(
                lambda: call.call_id in self._results or not self._state.timeline.may_continue(call.turn_id),
                timeout=call.expires_at - self._state.now(),
                timeout_summary=f"result of {call.tool}",
            )
        result = self._results.pop(call.call_id, None)
        if result is not None:
            return result
        outcome: Literal["expired", "unanswered"] = (
            "expired" if self._state.timeline.may_continue(call.turn_id) else "unanswered"
        )
        self._state.change(client_calls.close(self._state.timeline, call.call_id, outcome, at=self._state.now()))
        return outcome

    def _is_resolved(self, approval: WaitingApproval) -> bool:
        return approval.call_id in self._decisions or not self._state.timeline.may_continue(approval.turn_id)

    def _close(self, progress: TurnProgress) -> None:
        close = turn_completion.interrupt if progress.next_step else turn_completion.complete
        if progress.outcome == "failed":
            close = turn_completion.fail
        at = max(self._steps.replied_at, self._state.timeline.updated_at)
        self._state.change(close(self._state.timeline, progress, self._state.agent.limits, at=at))
