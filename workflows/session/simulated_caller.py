"""The simulated user of a session: after each reply it sends a message or hangs up, unless somebody else takes over.

In a suite, a message is generated in the same activity as the reply that it answers, if nothing can come between the
two. The workflow then compares its input with the one that it would use now, and sends the message if they are equal.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities.simulated_caller import SimulationActivities
from contracts.caller import GeneratedLine, NextLine, PlayCallerInput, PlayCallerResult
from domain.sessions import command_handlers as rules
from domain.sessions import simulated_caller
from domain.sessions.caller_config import SimulatorState, StopReason
from domain.sessions.commands import EndSession
from domain.sessions.timeline import AuxiliaryCall, Timeline
from domain.sessions.turn_completion import record_auxiliary_call
from domain.turns.engine import MAX_BLANK_REPLIES, TurnProgress
from workflows.activity_options import model_call_options
from workflows.errors import reason_of
from workflows.session.state import SessionState, new_turn_id


class SimulatedCaller:
    """The simulated user of one session. `may_begin` is true while this workflow run may start another model call."""

    def __init__(self, state: SessionState, may_begin: Callable[[], bool]) -> None:
        self._state = state
        self._may_begin = may_begin
        self._is_under_way = False

    @property
    def is_under_way(self) -> bool:
        """True while the simulated user's next message is generated."""
        return self._is_under_way

    async def play(self) -> None:
        """Send messages for the simulated user until the session has ended."""
        while not self._state.timeline.is_completed:
            await self._wait_for_action()
            due = simulated_caller.next_action(self._state.timeline, at=self._state.now())
            if due == "speak" and self._may_begin():
                await self._send_next_message()
            elif due is not None and due != "speak":
                self._stop(due)

    def line_after(self, progress: TurnProgress) -> NextLine | None:
        """The input for a message to generate along with the reply that is requested now; None to generate it later.

        A watched reply does not wait for the message, and outside of suites people may send messages in between.
        """
        state = self._state
        if state.start.suite_id is None or state.is_watched or not self._may_begin():
            return None
        answered = simulated_caller.timeline_after_reply(state.timeline, state.agent, progress, at=state.now())
        if answered is None:
            return None
        asked = self._question(answered).model_copy(update={"new_utterances": ()})
        left = simulated_caller.cost_left(state.timeline, progress, state.agent.limits)
        return NextLine(asked=asked, cost_left=left)

    def take_line(self, line: GeneratedLine) -> None:
        """Send a message that was generated with the newest reply; only bill it if the session has changed since."""
        call = AuxiliaryCall(
            id=line.call_id,
            purpose="caller",
            after_turn_id=self._head_id,
            created_at=self._state.now() - timedelta(seconds=line.seconds),
        )
        if self._is_still_wanted(line.call_id) and self._question(self._state.timeline).digest == line.digest:
            self._take(call, line.result)
        else:
            self._record_cost(call.model_copy(update={"usage": line.result.usage, "cost": line.result.cost}))

    async def _wait_for_action(self) -> None:
        """Wait until the simulated user has to act: to send a message, to stop, or to be switched on or off."""
        was_callers_turn = simulated_caller.is_callers_turn(self._state.timeline)

        def is_wanted() -> bool:
            timeline = self._state.timeline
            due = simulated_caller.next_action(timeline, at=self._state.now())
            may_act = due is not None and (due != "speak" or self._may_begin())
            return may_act or timeline.is_completed or simulated_caller.is_callers_turn(timeline) != was_callers_turn

        with suppress(TimeoutError):
            await workflow.wait_condition(
                is_wanted, timeout=self._time_left(), timeout_summary="time of the simulated user"
            )

    async def _send_next_message(self) -> None:
        """Send the configured opening; otherwise generate the next message, and send it if it is still due."""
        opening = simulated_caller.opening_message(self._state.timeline)
        if opening is not None:
            self._send(*opening, hangs_up=False)
            return
        call = self._new_call()
        self._is_under_way = True
        try:
            result = await self._generate_message(call.id)
        except ActivityError as error:
            self._take_failure(call, error)
        else:
            self._take(call, result)
        self._is_under_way = False

    async def _generate_message(self, call_id: str) -> PlayCallerResult:
        """Generate a message. A call whose message is no longer needed is cancelled, and returns its cost so far."""
        asked = self._question(self._state.timeline)
        playing = workflow.start_activity_method(
            SimulationActivities.play_caller,
            asked,
            summary=f"{asked.config.persona.name}, line {asked.lines + 1}",
            **model_call_options(self._state.start.timing),
        )
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: playing.done() or not self._is_still_wanted(call_id),
                timeout=self._time_left(),
                timeout_summary="time of the simulated user",
            )
        if not playing.done():
            playing.cancel()
        return await playing

    def _question(self, timeline: Timeline) -> PlayCallerInput:
        """The input of a model call for the simulated user at this state of the session."""
        start, simulation = self._state.start, self._simulation
        previous_call_id, utterances = simulated_caller.utterances_since_last_call(timeline)
        return PlayCallerInput(
            session_id=start.session_id,
            organization_id=start.organization_id,
            call_id=simulated_caller.next_call_id(timeline, start.session_id),
            previous_call_id=previous_call_id,
            config=simulation.config,
            model=simulation.config.model or start.model,
            lines=simulation.lines,
            new_utterances=utterances,
            timeout=start.timing.model_timeout,
            price_per_second=start.price_per_second,
        )

    def _new_call(self) -> AuxiliaryCall:
        call_id = simulated_caller.next_call_id(self._state.timeline, self._state.start.session_id)
        return AuxiliaryCall(id=call_id, purpose="caller", after_turn_id=self._head_id, created_at=self._state.now())

    def _take(self, call: AuxiliaryCall, result: PlayCallerResult) -> None:
        """Bill a message and send it. One that comes too late, or after the cost limit is reached, is only billed."""
        is_wanted = self._is_still_wanted(call.id)
        self._record_cost(call.model_copy(update={"usage": result.usage, "cost": result.cost}))
        if not is_wanted:
            return
        if simulated_caller.is_cost_limit_reached(self._state.timeline, self._state.agent.limits):
            self._state.change(rules.end(self._state.timeline, EndSession(reason="max_cost"), at=self._state.now()))
        elif result.line is not None:
            self._send(result.line, simulated_caller.message_id_of_call(call.id), hangs_up=result.hangs_up)
        elif result.hangs_up:
            self._stop("caller_hung_up")
        else:
            self._stop("caller_failed", f"The model of the simulated user returned {MAX_BLANK_REPLIES} empty replies.")

    def _take_failure(self, call: AuxiliaryCall, error: ActivityError) -> None:
        """Bill the saved steps of a failed model call, and stop the simulated user if its message was still needed."""
        is_wanted, failed = self._is_still_wanted(call.id), f"The simulated user failed: {reason_of(error)}"
        self._record_cost(call.model_copy(update={"error": None if is_cancelled_exception(error) else failed}))
        if is_wanted:
            self._stop("caller_failed", failed)

    def _record_cost(self, call: AuxiliaryCall) -> None:
        seconds = round((self._state.now() - call.created_at).total_seconds(), 3)
        timed = call.model_copy(update={"usage": call.usage.model_copy(update={"duration_seconds": seconds})})
        self._state.change(record_auxiliary_call(self._state.timeline, timed, at=self._state.now()))

    def _send(self, line: str, message_id: str, *, hangs_up: bool) -> None:
        sent = simulated_caller.send_caller_message(
            self._state.timeline,
            line,
            message_id,
            turn_id=new_turn_id(message_id, line),
            hangs_up=hangs_up,
            at=self._state.now(),
        )
        self._state.change(sent)

    def _stop(self, reason: StopReason, error: str | None = None) -> None:
        self._state.change(
            simulated_caller.stop_caller(self._state.timeline, reason, error=error, at=self._state.now())
        )

    def _is_still_wanted(self, call_id: str) -> bool:
        """True while the session is in the state that the message answers."""
        timeline = self._state.timeline
        is_due = simulated_caller.next_action(timeline, at=self._state.now()) == "speak"
        return is_due and simulated_caller.next_call_id(timeline, self._state.start.session_id) == call_id

    def _time_left(self) -> timedelta | None:
        """The time left for the simulated user; None without a limit, or while somebody else speaks next."""
        timeline = self._state.timeline
        ends_at = simulated_caller.caller_deadline(timeline) if simulated_caller.is_callers_turn(timeline) else None
        return None if ends_at is None else max(ends_at - self._state.now(), timedelta())

    @property
    def _head_id(self) -> str | None:
        head = self._state.timeline.head
        return head.id if head else None

    @property
    def _simulation(self) -> SimulatorState:
        simulation = self._state.timeline.simulator
        assert simulation is not None, "only a session with a caller speaks"
        return simulation
