"""The activities behind a turn: model replies, extraction of variables, and tool calls."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol, TypeVar

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.model import ModelActivities
from activities.tools import ToolActivities
from contracts.caller import GeneratedLine, NextLine
from contracts.recovery import RestoredStep
from contracts.sessions import (
    HISTORY_MISSING,
    GenerateStepInput,
    GenerateStepResult,
    RecordState,
    SettleTurnsInput,
    StartSession,
    TurnStart,
)
from contracts.tools import CallToolInput
from domain.agents.templates import render
from domain.agents.tool_mocks import mocks_for_tool
from domain.agents.tools import ApprovalRule, ClientTool, find_tool
from domain.dograh.lookup import variables_of
from domain.sessions.approvals import Decision
from domain.sessions.client_calls import client_call_id
from domain.sessions.commands import ClientResult
from domain.sessions.timeline import WaitingApproval, WaitingClientCall
from domain.turns.call_digest import instructions_digest, tool_digest
from domain.turns.engine import (
    ExtractionResult,
    ModelReply,
    NextStep,
    ToolCall,
    ToolResult,
    TurnProgress,
    apply_extraction,
    apply_reply,
    apply_tool_result,
    begin_turn,
    defer_extraction,
    instructions_at,
    start_checkpoint,
    template_values,
    values_of,
)
from domain.turns.extraction import extraction_texts
from domain.turns.summaries import SummaryPoint
from domain.turns.turn import Checkpoint, Turn
from workflows.activity_options import model_call_options, tool_call_options
from workflows.errors import reason_of

Result = TypeVar("Result")
Restore = Callable[[tuple[RestoredStep, ...]], Awaitable[None]]
RequestApproval = Callable[[WaitingApproval], Awaitable[tuple[Decision, str]]]
RequestResult = Callable[[WaitingClientCall], Awaitable[ClientResult | Literal["expired", "unanswered"]]]


class UnsettledRecords(Protocol):
    """Hands out the unsettled record of a session to a model call, and takes it back."""

    def take_record(self) -> SettleTurnsInput | None:
        """The record to be settled beside a model call that begins now; None if the call should carry none."""
        ...

    def return_record(self, record: SettleTurnsInput, state: RecordState | None) -> None:
        """Take a record back after its call. `state` is how it compared, None if the call did not settle it."""
        ...


class NextLineSource(Protocol):
    """Prepares the next message of a simulated user, to be generated along with a reply."""

    def line_after(self, progress: TurnProgress) -> NextLine | None:
        """The input for a message to generate along with the reply that is requested now; None to generate it later."""
        ...


class SummaryWriter(Protocol):
    """Starts summaries of a conversation."""

    @property
    def finished(self) -> int:
        """The number of summaries that were written, or failed."""
        ...

    def request(self, point: SummaryPoint) -> None:
        """Start a summary of the conversation up to a step, unless one is being written."""
        ...


PRE_CALL = "pre_call_fetch"
"""Stands for the id of the pre-call tool's call, which no model makes."""


INTERRUPTED = ToolResult(
    content="The call was interrupted: the user stopped the reply. Whether it took effect is not known.",
    error="interrupted",
)


NOT_ANSWERED = {
    "expired": ToolResult(content="The client did not return a result in time.", error="no_result_in_time"),
    "unanswered": ToolResult(
        content="The client did not return a result: the conversation went on without it.", error="no_result"
    ),
}
"""Results of calls of client tools that got none, by the outcome of the call."""


@dataclass(frozen=True)
class ToolWaits:
    """Waits of tool calls for others: a person's decision with its reason, and the result of a client."""

    decision: RequestApproval
    result: RequestResult


class StepRunner:
    """The steps of one session's turns.

    `waits` implements the waits of tool calls. `restore` writes back turns that the store has lost, with the steps of
    the turn that is being answered. `records` holds the unsettled record, for the next model call to carry. `caller`
    prepares the simulated user's next message. `summaries` starts a summary when the conversation needs one.
    """

    def __init__(
        self,
        start: StartSession,
        now: Callable[[], datetime],
        *,
        waits: ToolWaits,
        restore: Restore,
        records: UnsettledRecords,
        caller: NextLineSource,
        summaries: SummaryWriter,
    ) -> None:
        self._now = now
        self._waits = waits
        self._restore = restore
        self._records = records
        self._caller = caller
        self._summaries = summaries
        self._start = start
        self._agent = start.definition
        self._context = start.initial_context
        self._newest: Turn | None = None
        self._taken: tuple[RestoredStep, ...] = ()
        self._unchecked: set[str] = set()
        self.are_watched = False
        """True when somebody watched the session at its newest model call."""
        self.line: GeneratedLine | None = None
        """The simulated user's message that was generated along with the newest reply."""

    @property
    def checks_calls(self) -> bool:
        """True while the arguments of client tools are checked: calls of one reply are handed over together."""
        return bool(self._unchecked)

    def set_fetched_context(self, fetched: Mapping[str, JsonValue]) -> None:
        """Add the result of the pre-call tool to the initial context."""
        self._context = {**self._start.initial_context, **fetched}

    async def fetch(self, turn: Turn, tool: str) -> dict[str, JsonValue]:
        """The result of the pre-call tool, before the greeting; empty if it fails."""
        progress = self.begin(turn, None)
        result = await self._call(progress, PRE_CALL, ToolCall(id=PRE_CALL, name=tool))
        return result.assigned or variables_of(object_in(result.content)) if result.error is None else {}

    def begin(self, turn: Turn, checkpoint: Checkpoint | None) -> TurnProgress:
        """Begin a turn, from the checkpoint that the turns before it left."""
        self._newest = turn
        self._taken = ()
        begun = begin_turn(
            self._agent,
            checkpoint or start_checkpoint(self._agent),
            turn_id=turn.id,
            user_text=turn.user_message.text if turn.user_message else None,
            at=self._now(),
            initial_context=self._context,
            context=turn.options.context if turn.options else None,
            withheld=self._withheld(turn),
        )
        return begun.with_first_word(self._now())

    def _withheld(self, turn: Turn) -> tuple[str, ...]:
        """The client tools that nobody carries out in this turn: neither the client of its message nor a mock."""
        carried_out = turn.options.client_tools if turn.options else ()
        return tuple(
            name
            for name, tool in self._agent.tools.items()
            if isinstance(tool, ClientTool) and name not in carried_out and not mocks_for_tool(self._start.mocks, name)
        )

    async def advance(self, progress: TurnProgress, due: NextStep) -> TurnProgress:
        """Carry out the next step of a turn, and apply its result."""
        if due != "reply":
            return (await self._advance_without_reply(progress, due)).with_first_word(self._now())
        step = self._step(progress, partial(instructions_at, self._agent, progress.node_id))
        reply, self.line = await self._generate(step, self._caller.line_after(progress))
        progress, at = progress.after_step(step.digest), self.replied_at
        applied = apply_reply(self._agent, progress, reply, at=at, initial_context=self._context)
        return applied.with_first_word(at - _time_since_first_word(reply))

    @property
    def replied_at(self) -> datetime:
        """The time of the newest reply: now, or before the simulated user's message that was generated after it."""
        return self._now() - timedelta(seconds=self.line.seconds if self.line else 0.0)

    async def _advance_without_reply(self, progress: TurnProgress, due: NextStep) -> TurnProgress:
        if due == "extraction" and progress.leaving is None:
            return defer_extraction(progress)
        if due == "extraction":
            step = self._extraction_step(progress)
            extraction = await self._extract(step)
            # An extraction is not part of the conversation: the next step follows the step before it.
            return apply_extraction(self._agent, progress, extraction, at=self._now(), initial_context=self._context)
        calls = progress.calls
        for call, result in zip(calls, await self._run_tools(progress, calls), strict=True):
            progress = apply_tool_result(
                self._agent, progress, call, result, at=self._now(), initial_context=self._context
            )
        return progress

    async def _generate(
        self, step: GenerateStepInput, next_line: NextLine | None
    ) -> tuple[ModelReply, GeneratedLine | None]:
        record, summaries = self._records.take_record(), self._summaries.finished
        asked = step.model_copy(update={"record": record, "next_line": next_line})
        settled: RecordState | None = None
        try:
            result = await self._start_generating(asked)
            settled = result.record
        finally:
            if record is not None:
                self._records.return_record(record, settled)
        self.are_watched = result.watched
        # The call may have missed a summary that was finished meanwhile: the next one asks if it needs another.
        if result.summarize is not None and self._summaries.finished == summaries:
            self._summaries.request(result.summarize)
        self._taken = (*self._taken, RestoredStep(call=step, reply=result.reply))
        return result.reply, result.line

    async def _start_generating(self, step: GenerateStepInput) -> GenerateStepResult:
        return await self._with_history(
            lambda: workflow.execute_activity_method(
                ModelActivities.generate_step,
                step,
                summary=f"{step.node_id}, step {step.step + 1}{_with_line(step.next_line)}",
                **model_call_options(self._start.timing),
            )
        )

    async def _extract(self, step: GenerateStepInput) -> ExtractionResult:
        """Read the node's variables from the conversation. A failure is recorded, and stops nothing."""
        try:
            return await self._with_history(lambda: self._start_extraction(step, f"variables of {step.node_id}"))
        except ActivityError as error:
            return ExtractionResult(error=reason_of(error))

    def _start_extraction(self, step: GenerateStepInput, summary: str) -> Awaitable[ExtractionResult]:
        return workflow.execute_activity_method(
            ModelActivities.extract_variables, step, summary=summary, **model_call_options(self._start.timing)
        )

    async def _with_history(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Make a model call. If the store has lost its earlier steps, restore them and make the call once more."""
        try:
            return await call()
        except ActivityError as error:
            if not (isinstance(error.cause, ApplicationError) and error.cause.type == HISTORY_MISSING):
                raise
        await self._restore(self._taken)
        return await call()

    async def _run_tools(self, progress: TurnProgress, calls: tuple[ToolCall, ...]) -> list[ToolResult]:
        """Run the tools that one reply called, at the same time. If they are stopped, finished results still count."""
        running = [
            asyncio.create_task(self._run_tool(progress, _call_id(progress, place, call), call))
            for place, call in enumerate(calls)
        ]
        try:
            return await asyncio.gather(*running)
        except asyncio.CancelledError:
            return [task.result() if _has_result(task) else INTERRUPTED for task in running]

    async def _run_tool(self, progress: TurnProgress, call_id: str, call: ToolCall) -> ToolResult:
        """Run one tool, after a person has approved the call if its declaration requires that."""
        tool = self._agent.tools[find_tool(self._agent.tools, call.name) or call.name]
        # A mocked call has no effect outside: there is nothing to approve.
        if tool.approval is not None and not mocks_for_tool(self._start.mocks, call.name):
            decision, reason = await self._waits.decision(self._approval(progress, call_id, call, tool.approval))
            if decision == "denied":
                return ToolResult(content=f"A person did not allow this call. {reason}".strip(), error="denied")
            if decision == "expired":
                return ToolResult(content="Nobody allowed this call in time; it was not made.", error="not_approved")
        if isinstance(tool, ClientTool) and not mocks_for_tool(self._start.mocks, call.name):
            return await self._result_of_client(progress, call_id, call, tool)
        return await self._call(progress, call_id, call)

    async def _result_of_client(
        self, progress: TurnProgress, call_id: str, call: ToolCall, tool: ClientTool
    ) -> ToolResult:
        """Have the client carry out a call, once its arguments are checked."""
        self._unchecked.add(call_id)
        try:
            checked = await self._call(progress, call_id, call)
        finally:
            self._unchecked.discard(call_id)
        if checked.error is not None:
            return checked
        step, number, digest = call_id.split(".", 2)
        waiting = WaitingClientCall(
            call_id=client_call_id(self._start.session_id, progress.turn_id, int(step), int(number), digest),
            turn_id=progress.turn_id,
            tool=call.name,
            arguments=call.arguments,
            said=progress.text,
            used=progress.usage,
            requested_at=self._now(),
            expires_at=self._now() + timedelta(seconds=tool.timeout_seconds),
        )
        result = await self._waits.result(waiting)
        if isinstance(result, ClientResult):
            return ToolResult(content=result.content, error="tool_error" if result.is_error else None)
        return NOT_ANSWERED[result]

    def _approval(
        self, progress: TurnProgress, call_id: str, call: ToolCall, approval: ApprovalRule
    ) -> WaitingApproval:
        known = values_of(self._agent, progress, self._context)
        # Arguments from the model must not override values of the session in the reason that a person decides by.
        values = {**known, **{name: value for name, value in call.arguments.items() if known.get(name) is None}}
        return WaitingApproval(
            call_id=f"{progress.turn_id}.{call_id}",
            turn_id=progress.turn_id,
            tool=call.name,
            arguments=call.arguments,
            reason=render(approval.reason, values),
            requested_at=self._now(),
            expires_at=self._now() + timedelta(seconds=approval.timeout_seconds),
        )

    async def _call(self, progress: TurnProgress, call_id: str, call: ToolCall) -> ToolResult:
        start = self._start
        try:
            result = await workflow.execute_activity_method(
                ToolActivities.call_tool,
                CallToolInput(
                    session_id=start.session_id,
                    organization_id=start.organization_id,
                    turn_id=progress.turn_id,
                    call_id=call_id,
                    agent=start.agent,
                    tool=call.name,
                    arguments=call.arguments,
                    context=values_of(self._agent, progress, self._context),
                    mocks=mocks_for_tool(start.mocks, call.name),
                ),
                summary=call.name,
                **tool_call_options(start.timing),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                return INTERRUPTED
            return ToolResult(content=f"The tool could not be called: {reason_of(error)}", error="internal_error")
        return ToolResult(
            content=result.content,
            error=result.error,
            assigned=result.assigned,
            attempts=result.attempts,
            failed_attempts=result.failed_attempts,
        )

    async def extract_at_the_end(self, checkpoint: Checkpoint, call_id: str) -> ExtractionResult:
        """Extract the variables of the node at which the session ended.

        Raises ActivityError when the model call failed.
        """
        ended = TurnProgress(
            turn_id=call_id,
            node_id=checkpoint.node_id,
            gathered_context=checkpoint.gathered_context,
            after=checkpoint.after,
            messages=checkpoint.carry,
            started_at=self._now(),
        )
        step, summary = self._extraction_step(ended), f"variables of {checkpoint.node_id}, at the end"
        return await self._with_history(lambda: self._start_extraction(step, summary))

    def _extraction_step(self, progress: TurnProgress) -> GenerateStepInput:
        return self._step(progress, partial(extraction_texts, self._agent.nodes[progress.node_id]))

    def _step(
        self, progress: TurnProgress, instructions: Callable[[Mapping[str, JsonValue]], str]
    ) -> GenerateStepInput:
        """The input of a model call. `instructions` renders the text that is sent besides the conversation."""
        start, newest = self._start, self._newest
        values = values_of(self._agent, progress, self._context)
        as_opened = template_values(self._agent, start.initial_context, {})
        shown = "" if values == as_opened else instructions_digest(instructions(values), instructions(as_opened))
        answered = newest if newest is not None and newest.id == progress.turn_id else None
        return GenerateStepInput(
            session_id=start.session_id,
            organization_id=start.organization_id,
            turn_id=progress.turn_id,
            step=progress.steps,
            agent=start.agent,
            model=start.model,
            node_id=progress.node_id,
            after=progress.after,
            messages=progress.messages,
            context=values,
            timeout=start.timing.model_timeout,
            price_per_second=start.price_per_second,
            opening=opening_of(answered) if answered else None,
            said=progress.text,
            reply_format=answered.options.reply_format if answered and answered.options else None,
            withheld=progress.withheld,
            instructions=shown,
        )


def _with_line(next_line: NextLine | None) -> str:
    if next_line is None:
        return ""
    return f", and {next_line.asked.config.persona.name}, line {next_line.asked.lines + 1}"


def _time_since_first_word(reply: ModelReply) -> timedelta:
    """The part of a model call after its first text; nothing where the reply came in one piece."""
    if reply.first_word is None or not reply.text.strip():
        return timedelta()
    return timedelta(seconds=max(reply.usage.model_seconds - reply.first_word, 0.0))


def opening_of(turn: Turn) -> TurnStart:
    """The start of a turn, for watchers."""
    message = turn.user_message
    message_waited = message is not None and (message.message_id is None or message.created_at != turn.created_at)
    return TurnStart(
        parent_id=turn.parent_id,
        index=turn.index,
        created_at=turn.created_at,
        said_at=message.created_at if message and message_waited else None,
        message_id=message.message_id if message else None,
    )


def _call_id(progress: TurnProgress, place: int, call: ToolCall) -> str:
    """An id that is unique within the turn, and differs for a different call if the turn is answered again."""
    return f"{progress.steps}.{place}.{call.id}.{tool_digest(progress.after, call.name, call.arguments)[:8]}"


def object_in(content: str) -> dict[str, JsonValue]:
    """The JSON object in a text; an empty one if the text is something else."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _has_result(task: asyncio.Task[ToolResult]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
