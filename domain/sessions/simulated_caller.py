"""The rules of a simulated caller: when it may speak, what it has heard since, what its line changes, when it stops.

A caller speaks after each reply for as long as nobody else does: what it goes by is the newest turn that is seen. A
message, a rewind or any other command from outside moves that turn, and the caller is silent until it is handed back
the conversation. Time comes in as an argument, as everywhere in the domain.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Literal

from domain.agents.definition import Limits
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
from domain.turns.turn import Turn, TurnEvent

MESSAGE_ID_PREFIX = "caller_"
"""Begins the message ids of a simulated caller."""
OPENING_MESSAGE_ID_PREFIX = f"{MESSAGE_ID_PREFIX}opening_"
MAX_CONTEXT_TURNS = 60
"""Turns that a caller is told of at once: when it takes over a conversation that others have held."""
MAX_CONTEXT_CHARACTERS = 60_000
"""Characters that it is told of at once, the newest; fewer than Temporal takes in one input by far."""
MAX_REMEMBERED_EXCHANGES = 8
"""Newest exchanges among which a repeat is looked for."""
MAX_SHORT_MESSAGE_WORDS = 3
"""Lines of so many words, such as a yes, may answer any number of different questions."""

CallerAction = Literal["speak"] | StopReason


def start_simulation(timeline: Timeline, config: SimulatorConfig, *, at: datetime) -> Timeline:
    """Have a session begin with a simulated caller. Nobody commanded it: the revision stays."""
    return timeline.model_copy(update={"simulator": _new_state(timeline, config, at)})


def set_simulator(timeline: Timeline, command: SetSimulator, *, at: datetime) -> Timeline:
    """Switch a caller on or off; switched on, it takes the conversation from where it stands.

    With a new `config` a new caller begins; else the one that was there goes on, with what it has said so far. A
    command that changes nothing is no change.

    Raises CommandRejected with `session_ended`, `revision_conflict`, or `validation_error` when there is no config.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    known = timeline.simulator
    config = command.config or (known.config if known else None)
    if config is None:
        if not command.enabled:
            return timeline
        raise CommandRejected(
            "validation_error", "There is no simulated caller yet: send the config that it is to go by."
        )
    changed = known if known and known.config == config else _new_state(timeline, config, at)
    at_turn_id, at_cursor = _position(timeline)
    handed = {"enabled": True, "at_turn_id": at_turn_id, "at_cursor": at_cursor, "stopped": None}
    changed = changed.model_copy(update=handed if command.enabled else {"enabled": False})
    return timeline if changed == known else timeline.changed(at=at, accepted=True, simulator=changed)


def next_action(timeline: Timeline, *, at: datetime) -> CallerAction | None:
    """What the caller has to do now: speak, or stop and why; none while it waits or somebody else talks."""
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
    """Whether the conversation is the caller's: it is switched on, and nobody has moved it since its own doing."""
    simulation = timeline.simulator
    if simulation is None or not simulation.enabled:
        return False
    return (simulation.at_turn_id, simulation.at_cursor) == _position(timeline)


def status_of(timeline: Timeline) -> SimulatorStatus | None:
    """How the caller stands, if there is one."""
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
    """When the caller gives up, whatever is being said then."""
    simulation = timeline.simulator
    if simulation is None or simulation.config.limits.seconds is None:
        return None
    return simulation.since + timedelta(seconds=simulation.config.limits.seconds)


def is_cost_limit_reached(timeline: Timeline, limits: Limits) -> bool:
    """Whether the session has spent what its agent's limits allow, so that no reply to a line may be bought."""
    return limits.max_cost_usd is not None and timeline.cost.total >= limits.max_cost_usd


def next_call_id(timeline: Timeline, session_id: str) -> str:
    """Under what the caller's next line is bought: the same for the same state of a session, in every run of it."""
    place = f"{session_id}\n{_head_id(timeline)}\n{timeline.revision}"
    return f"turn_{sha256(place.encode()).hexdigest()[:12]}"


def message_id_of_call(aside_id: str) -> str:
    """The message id of a line that was bought."""
    return f"{MESSAGE_ID_PREFIX}{aside_id}"


def opening_message(timeline: Timeline) -> tuple[str, str] | None:
    """What the caller says first, word for word, with its message id; none when it has spoken or thinks for itself."""
    simulation = timeline.simulator
    if simulation is None or simulation.lines or simulation.config.opening is None:
        return None
    return simulation.config.opening, f"{OPENING_MESSAGE_ID_PREFIX}{_head_id(timeline) or 'first'}"


def utterances_since_last_call(timeline: Timeline) -> tuple[str | None, tuple[Utterance, ...]]:
    """The aside of the caller's newest line that is seen, and what was said after it, oldest first.

    Lines that others spoke in the caller's place count as its own side's words. Lines of callers before this one,
    such as those of a session that was forked, are heard again: they were bought elsewhere.
    """
    simulation = _require_simulator(timeline)
    newest_first: list[Utterance] = []
    anchor_aside_id = None
    for turn in islice(timeline.visible_turns(), MAX_CONTEXT_TURNS):
        newest_first += [Utterance(by="agent", text=text) for text in _answer_texts(turn)]
        anchor_aside_id = _call_id_of(turn) if turn.created_at >= simulation.since else None
        if anchor_aside_id is not None:
            break
        if turn.user_message is not None:
            newest_first.append(Utterance(by="caller", text=turn.user_message.text))
    return anchor_aside_id, tuple(_within_limit(newest_first))[::-1]


def send_caller_message(
    timeline: Timeline, line: str, message_id: str, *, turn_id: str, hangs_up: bool = False, at: datetime
) -> Timeline:
    """Send a line of the caller, and count it. Raises CommandRejected as `send` does."""
    simulation = _require_simulator(timeline)
    exchange = _digest(f"{_normalized(_last_answer(timeline))}\n{_normalized(line)}")
    alone = _digest(_normalized(line))
    repeats = exchange in simulation.heard or (
        len(line.split()) > MAX_SHORT_MESSAGE_WORDS and alone in simulation.heard
    )
    command = SendMessage(text=line, message_id=message_id)
    sent = rules.send(timeline, command, turn_id=turn_id, at=at)
    spoken = simulation.model_copy(
        update={
            "at_turn_id": turn_id,
            "at_cursor": False,
            "lines": simulation.lines + 1,
            "stalled": simulation.stalled + 1 if repeats else 0,
            "heard": (*simulation.heard, exchange, alone)[-2 * MAX_REMEMBERED_EXCHANGES :],
            "says_goodbye": hangs_up,
        }
    )
    return sent.model_copy(update={"simulator": spoken})


def stop_caller(timeline: Timeline, reason: StopReason, *, error: str | None = None, at: datetime) -> Timeline:
    """End the session as the caller leaves it. What went wrong, if something did, is an event of the newest turn."""
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
        raise CommandRejected("validation_error", "There is no simulated caller in this session.")
    return timeline.simulator


def _position(timeline: Timeline) -> tuple[str | None, bool]:
    """Where the next message goes: after the newest turn that is seen, and whether a rewind points there."""
    return _head_id(timeline), timeline.cursor is not None


def _head_id(timeline: Timeline) -> str | None:
    return timeline.head.id if timeline.head else None


def _call_id_of(turn: Turn) -> str | None:
    """The aside under which the message of a turn was bought, if a caller's model wrote it."""
    message_id = turn.user_message.message_id if turn.user_message else None
    if message_id is None or not message_id.startswith(f"{MESSAGE_ID_PREFIX}turn_"):
        return None
    return message_id.removeprefix(MESSAGE_ID_PREFIX)


def _within_limit(newest_first: list[Utterance]) -> Iterator[Utterance]:
    left = MAX_CONTEXT_CHARACTERS
    for spoken in newest_first:
        left -= len(spoken.text)
        if left < 0:
            return
        yield spoken


def _answer_texts(turn: Turn | None) -> list[str]:
    return [turn.assistant_message.text] if turn is not None and turn.assistant_message is not None else []


def _last_answer(timeline: Timeline) -> str:
    return next(iter(_answer_texts(timeline.head)), "")


def _normalized(text: str) -> str:
    return " ".join("".join(each if each.isalnum() else " " for each in text.casefold()).split())


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()[:12]
