"""Rules of a simulated user: its turn to speak, the context of its model call, its messages and its limits.

A simulated user answers each reply as long as nobody else does. A message, a rewind or any other command from outside
changes the newest visible turn, and the simulated user stays silent until it is switched on again.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import islice
from typing import Literal

from domain.agents.definition import AgentDefinition, Limits
from domain.rejections import CommandRejected
from domain.sessions import command_handlers as rules
from domain.sessions.caller_config import (
    SetSimulator,
    SimulatorConfig,
    SimulatorState,
    SimulatorStatus,
    StopReason,
    Utterance,
)
from domain.sessions.commands import EndSession, SendMessage
from domain.sessions.timeline import Timeline
from domain.sessions.turn_completion import complete
from domain.turns.engine import ModelReply, TurnProgress, apply_reply
from domain.turns.turn import Turn, TurnEvent

MESSAGE_ID_PREFIX = "caller_"
"""Prefix of the message ids of a simulated user."""
OPENING_MESSAGE_ID_PREFIX = f"{MESSAGE_ID_PREFIX}opening_"
MAX_CONTEXT_TURNS = 60
"""Maximum turns in the input of one call, for a simulated user that takes over a conversation."""
MAX_CONTEXT_CHARACTERS = 60_000
"""Maximum characters in the input of one call, newest kept: far below Temporal's payload limit."""
MAX_REMEMBERED_EXCHANGES = 8
"""Number of newest exchanges that are searched for repeats."""
MAX_SHORT_MESSAGE_WORDS = 3
"""Messages of at most so many words, such as "yes", may repeat: they can answer different questions."""

CallerAction = Literal["speak"] | StopReason
_REPLY = "(a reply)"
"""Stands for a reply that is still to be generated."""


def start_simulation(timeline: Timeline, config: SimulatorConfig, *, at: datetime) -> Timeline:
    """Start a session with a simulated user. This is not a command: the revision does not change."""
    return timeline.model_copy(update={"simulator": _new_state(timeline, config, at)})


def set_simulator(timeline: Timeline, command: SetSimulator, *, at: datetime) -> Timeline:
    """Switch a simulated user on or off. Switched on, it continues the conversation from the present state.

    With a new `config` a new simulated user starts; otherwise the present one continues with its counters. A command
    without effect does not change the revision.

    Raises CommandRejected with `session_ended`, `revision_conflict`, or `validation_error` if there is no config.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    known = timeline.simulator
    config = command.config or (known.config if known else None)
    if config is None:
        if not command.enabled:
            return timeline
        raise CommandRejected("validation_error", "The session has no simulated user yet: send a config.")
    changed = known if known and known.config == config else _new_state(timeline, config, at)
    at_turn_id, at_cursor = _position(timeline)
    resumed = {"enabled": True, "at_turn_id": at_turn_id, "at_cursor": at_cursor, "stopped": None}
    changed = changed.model_copy(update=resumed if command.enabled else {"enabled": False})
    return timeline if changed == known else timeline.changed(at=at, accepted=True, simulator=changed)


def next_action(timeline: Timeline, *, at: datetime) -> CallerAction | None:
    """The next action: speak, or the reason to stop.

    None if somebody else talks, or while a reply is pending and the time limit is not reached.
    """
    simulation = timeline.simulator
    if simulation is None or timeline.is_completed or not is_callers_turn(timeline):
        return None
    ends_at = caller_deadline(timeline)
    if ends_at is not None and at >= ends_at:
        return "caller_time_over"
    if timeline.is_busy or timeline.queue:
        return None
    if timeline.head is not None and timeline.head.status == "failed":
        return "agent_failed"
    return _limit_reached(simulation, timeline) or "speak"


def is_callers_turn(timeline: Timeline) -> bool:
    """True if the simulated user speaks next: it is enabled, and nobody else changed the conversation since."""
    simulation = timeline.simulator
    if simulation is None or not simulation.enabled:
        return False
    return (simulation.at_turn_id, simulation.at_cursor) == _position(timeline)


def status_of(timeline: Timeline) -> SimulatorStatus | None:
    """The public status of the simulated user, if there is one."""
    simulation = timeline.simulator
    if simulation is None:
        return None
    return SimulatorStatus(
        enabled=simulation.enabled,
        config=simulation.config,
        has_the_floor=is_callers_turn(timeline) and not timeline.is_completed,
        lines=simulation.lines,
        stopped=simulation.stopped,
    )


def caller_deadline(timeline: Timeline) -> datetime | None:
    """The time at which the simulated user stops, even during a reply; None without a time limit."""
    simulation = timeline.simulator
    if simulation is None or simulation.config.limits.seconds is None:
        return None
    return simulation.since + timedelta(seconds=simulation.config.limits.seconds)


def is_cost_limit_reached(timeline: Timeline, limits: Limits) -> bool:
    """True if the session's cost has reached the agent's limit, so that a message would get no reply."""
    return limits.max_cost_usd is not None and timeline.cost.total >= limits.max_cost_usd


def next_call_id(timeline: Timeline, session_id: str) -> str:
    """Id of the next model call of the simulated user: the same for the same state of a session, in every run."""
    state = f"{session_id}\n{_head_id(timeline)}\n{timeline.revision}"
    return f"turn_{sha256(state.encode()).hexdigest()[:12]}"


def message_id_of_call(call_id: str) -> str:
    """The message id of a message generated by this model call."""
    return f"{MESSAGE_ID_PREFIX}{call_id}"


def opening_message(timeline: Timeline) -> tuple[str, str] | None:
    """The configured first message, with its message id; None without one, or after the first message."""
    simulation = timeline.simulator
    if simulation is None or simulation.lines or simulation.config.opening is None:
        return None
    return simulation.config.opening, f"{OPENING_MESSAGE_ID_PREFIX}{_head_id(timeline) or 'first'}"


def utterances_since_last_call(timeline: Timeline) -> tuple[str | None, tuple[Utterance, ...]]:
    """The id of the simulated user's newest visible model call, and the messages after it, oldest first.

    Messages that others sent in its place count as its own side. Messages of earlier simulated users, for example
    before a fork, are included: their model calls belong to another conversation.
    """
    simulation = _require_simulator(timeline)
    newest_first: list[Utterance] = []
    anchor_call_id = None
    for turn in islice(timeline.visible_turns(), MAX_CONTEXT_TURNS):
        newest_first += [Utterance(by="agent", text=text) for text in _answer_texts(turn)]
        anchor_call_id = _call_id_of(turn) if turn.created_at >= simulation.since else None
        if anchor_call_id is not None:
            break
        if turn.user_message is not None:
            newest_first.append(Utterance(by="caller", text=turn.user_message.text))
    return anchor_call_id, tuple(_within_limit(newest_first))[::-1]


def timeline_after_reply(
    timeline: Timeline, agent: AgentDefinition, progress: TurnProgress, *, at: datetime
) -> Timeline | None:
    """The session after a plain reply to the pending turn, if the simulated user then answers that reply alone.

    None where something else may come between the two: more of the same turn, a queued message, a limit, the opening.
    """
    if progress.said or agent.has_recordings or not is_callers_turn(timeline):
        return None
    answered = apply_reply(agent, progress, ModelReply(text=_REPLY), at=at, initial_context={})
    if answered.outcome != "answered":
        return None
    closed = complete(timeline, answered, agent.limits, at=at)
    if next_action(closed, at=at) != "speak" or opening_message(closed) is not None:
        return None
    _, utterances = utterances_since_last_call(closed)
    return closed if utterances == (Utterance(by="agent", text=_REPLY),) else None


def cost_left(timeline: Timeline, progress: TurnProgress, limits: Limits) -> Decimal | None:
    """The cost of a reply at which the limit of the agent or of the simulated user is reached; None without one."""
    own = _require_simulator(timeline).config.limits.max_cost_usd
    known = [limit for limit in (own, limits.max_cost_usd) if limit is not None]
    return min(known) - timeline.cost.total - progress.cost.total if known else None


def send_caller_message(
    timeline: Timeline, text: str, message_id: str, *, turn_id: str, hangs_up: bool = False, at: datetime
) -> Timeline:
    """Send a message of the simulated user, and count it. Raises CommandRejected like `send`."""
    simulation = _require_simulator(timeline)
    exchange = _digest(f"{_normalized(_last_answer(timeline))}\n{_normalized(text)}")
    message = _digest(_normalized(text))
    repeats = exchange in simulation.recent_exchanges or (
        len(text.split()) > MAX_SHORT_MESSAGE_WORDS and message in simulation.recent_exchanges
    )
    command = SendMessage(text=text, message_id=message_id)
    sent = rules.send(timeline, command, turn_id=turn_id, at=at)
    updated = simulation.model_copy(
        update={
            "at_turn_id": turn_id,
            "at_cursor": False,
            "lines": simulation.lines + 1,
            "stalled": simulation.stalled + 1 if repeats else 0,
            "recent_exchanges": (*simulation.recent_exchanges, exchange, message)[-2 * MAX_REMEMBERED_EXCHANGES :],
            "says_goodbye": hangs_up,
        }
    )
    return sent.model_copy(update={"simulator": updated})


def stop_caller(timeline: Timeline, reason: StopReason, *, error: str | None = None, at: datetime) -> Timeline:
    """Stop the simulated user, and end the session. An error is recorded as an event of the newest turn."""
    simulation = _require_simulator(timeline)
    head = timeline.head
    if error is not None and head is not None:
        event = TurnEvent(type="execution_error", created_at=at, payload={"message": error, "by": "caller"})
        timeline = timeline.with_turn(head.model_copy(update={"events": (*head.events, event)}))
    stopped = simulation.model_copy(update={"enabled": False, "stopped": reason})
    return rules.end(timeline.model_copy(update={"simulator": stopped}), EndSession(reason=reason), at=at)


def _new_state(timeline: Timeline, config: SimulatorConfig, at: datetime) -> SimulatorState:
    at_turn_id, at_cursor = _position(timeline)
    return SimulatorState(enabled=True, config=config, since=at, at_turn_id=at_turn_id, at_cursor=at_cursor)


def _limit_reached(simulation: SimulatorState, timeline: Timeline) -> StopReason | None:
    limits = simulation.config.limits
    if simulation.says_goodbye:
        return "caller_hung_up"
    if limits.max_stalled_turns is not None and simulation.stalled >= limits.max_stalled_turns:
        return "caller_stalled"
    if simulation.lines >= limits.max_turns:
        return "caller_max_turns"
    if limits.max_cost_usd is not None and timeline.cost.total >= limits.max_cost_usd:
        return "caller_max_cost"
    return None


def _require_simulator(timeline: Timeline) -> SimulatorState:
    if timeline.simulator is None:
        raise CommandRejected("validation_error", "The session has no simulated user.")
    return timeline.simulator


def _position(timeline: Timeline) -> tuple[str | None, bool]:
    """The position in the conversation: the newest visible turn, and whether a rewind points at it."""
    return _head_id(timeline), timeline.cursor is not None


def _head_id(timeline: Timeline) -> str | None:
    return timeline.head.id if timeline.head else None


def _call_id_of(turn: Turn) -> str | None:
    """The id of the model call that generated the message of a turn, if a simulated user's model did."""
    message_id = turn.user_message.message_id if turn.user_message else None
    if message_id is None or not message_id.startswith(f"{MESSAGE_ID_PREFIX}turn_"):
        return None
    return message_id.removeprefix(MESSAGE_ID_PREFIX)


def _within_limit(newest_first: list[Utterance]) -> Iterator[Utterance]:
    remaining = MAX_CONTEXT_CHARACTERS
    for utterance in newest_first:
        remaining -= len(utterance.text)
        if remaining < 0:
            return
        yield utterance


def _answer_texts(turn: Turn | None) -> list[str]:
    return [turn.assistant_message.text] if turn is not None and turn.assistant_message is not None else []


def _last_answer(timeline: Timeline) -> str:
    return next(iter(_answer_texts(timeline.head)), "")


def _normalized(text: str) -> str:
    return " ".join("".join(each if each.isalnum() else " " for each in text.casefold()).split())


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()[:12]
