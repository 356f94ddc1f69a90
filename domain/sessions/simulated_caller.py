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
from domain.sessions.caller_config import SetSimulator, Simulation, SimulatorConfig, SimulatorStatus, Spoken, StopReason
from domain.sessions.commands import EndSession, SendMessage
from domain.sessions.timeline import Timeline
from domain.turns.turn import Turn, TurnEvent

SPEAKER = "caller_"
"""Begins the message ids of a simulated caller."""
OPENING = f"{SPEAKER}opening_"
MAX_HEARD = 60
"""Turns that a caller is told of at once: when it takes over a conversation that others have held."""
MAX_HEARD_CHARACTERS = 60_000
"""Characters that it is told of at once, the newest; fewer than Temporal takes in one input by far."""
EXCHANGES_REMEMBERED = 8
"""Newest exchanges among which a repeat is looked for."""
FEW_WORDS = 3
"""Lines of so many words, such as a yes, may answer any number of different questions."""

CallerAction = Literal["speak"] | StopReason


def begin_simulation(timeline: Timeline, config: SimulatorConfig, *, at: datetime) -> Timeline:
    """Have a session begin with a simulated caller. Nobody commanded it: the revision stays."""
    return timeline.model_copy(update={"simulator": _begun(timeline, config, at)})


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
    changed = known if known and known.config == config else _begun(timeline, config, at)
    at_turn_id, at_cursor = _place_in(timeline)
    handed = {"enabled": True, "at_turn_id": at_turn_id, "at_cursor": at_cursor, "stopped": None}
    changed = changed.model_copy(update=handed if command.enabled else {"enabled": False})
    return timeline if changed == known else timeline.changed(at=at, accepted=True, simulator=changed)


def due(timeline: Timeline, *, at: datetime) -> CallerAction | None:
    """What the caller has to do now: speak, or stop and why; none while it waits or somebody else talks."""
    simulation = timeline.simulator
    if simulation is None or timeline.is_completed or not has_the_floor(timeline):
        return None
    ends_at = time_is_over_at(timeline)
    if ends_at is not None and at >= ends_at:
        return "caller_time_over"
    if timeline.is_busy or timeline.queue:
        return None
    if timeline.head is not None and timeline.head.status == "failed":
        return "agent_failed"
    return _limit_reached(simulation, timeline) or "speak"


def has_the_floor(timeline: Timeline) -> bool:
    """Whether the conversation is the caller's: it is switched on, and nobody has moved it since its own doing."""
    simulation = timeline.simulator
    if simulation is None or not simulation.enabled:
        return False
    return (simulation.at_turn_id, simulation.at_cursor) == _place_in(timeline)


def status_of(timeline: Timeline) -> SimulatorStatus | None:
    """How the caller stands, if there is one."""
    simulation = timeline.simulator
    if simulation is None:
        return None
    return SimulatorStatus(
        enabled=simulation.enabled,
        config=simulation.config,
        has_the_floor=has_the_floor(timeline) and not timeline.is_completed,
        lines=simulation.lines,
        stopped=simulation.stopped,
    )


def time_is_over_at(timeline: Timeline) -> datetime | None:
    """When the caller gives up, whatever is being said then."""
    simulation = timeline.simulator
    if simulation is None or simulation.config.limits.seconds is None:
        return None
    return simulation.since + timedelta(seconds=simulation.config.limits.seconds)


def is_unaffordable(timeline: Timeline, limits: Limits) -> bool:
    """Whether the session has spent what its agent's limits allow, so that no reply to a line may be bought."""
    return limits.max_cost_usd is not None and timeline.cost.total >= limits.max_cost_usd


def aside_id_of(timeline: Timeline, session_id: str) -> str:
    """Under what the caller's next line is bought: the same for the same state of a session, in every run of it."""
    place = f"{session_id}\n{_head_id(timeline)}\n{timeline.revision}"
    return f"turn_{sha256(place.encode()).hexdigest()[:12]}"


def message_id_of(aside_id: str) -> str:
    """The message id of a line that was bought."""
    return f"{SPEAKER}{aside_id}"


def opening_of(timeline: Timeline) -> tuple[str, str] | None:
    """What the caller says first, word for word, with its message id; none when it has spoken or thinks for itself."""
    simulation = timeline.simulator
    if simulation is None or simulation.lines or simulation.config.opening is None:
        return None
    return simulation.config.opening, f"{OPENING}{_head_id(timeline) or 'first'}"


def heard_since(timeline: Timeline) -> tuple[str | None, tuple[Spoken, ...]]:
    """The aside of the caller's newest line that is seen, and what was said after it, oldest first.

    Lines that others spoke in the caller's place count as its own side's words. Lines of callers before this one,
    such as those of a session that was forked, are heard again: they were bought elsewhere.
    """
    simulation = _simulation(timeline)
    newest_first: list[Spoken] = []
    anchor_aside_id = None
    for turn in islice(timeline.visible_turns(), MAX_HEARD):
        newest_first += [Spoken(by="agent", text=text) for text in _answer_of(turn)]
        anchor_aside_id = _aside_of(turn) if turn.created_at >= simulation.since else None
        if anchor_aside_id is not None:
            break
        if turn.user_message is not None:
            newest_first.append(Spoken(by="caller", text=turn.user_message.text))
    return anchor_aside_id, tuple(_newest(newest_first))[::-1]


def say(
    timeline: Timeline, line: str, message_id: str, *, turn_id: str, hangs_up: bool = False, at: datetime
) -> Timeline:
    """Send a line of the caller, and count it. Raises CommandRejected as `send` does."""
    simulation = _simulation(timeline)
    exchange = _digest(f"{_plain(_heard_last(timeline))}\n{_plain(line)}")
    alone = _digest(_plain(line))
    repeats = exchange in simulation.heard or (len(line.split()) > FEW_WORDS and alone in simulation.heard)
    command = SendMessage(text=line, message_id=message_id)
    sent = rules.send(timeline, command, turn_id=turn_id, at=at)
    spoken = simulation.model_copy(
        update={
            "at_turn_id": turn_id,
            "at_cursor": False,
            "lines": simulation.lines + 1,
            "stalled": simulation.stalled + 1 if repeats else 0,
            "heard": (*simulation.heard, exchange, alone)[-2 * EXCHANGES_REMEMBERED :],
            "says_goodbye": hangs_up,
        }
    )
    return sent.model_copy(update={"simulator": spoken})


def stop(timeline: Timeline, reason: StopReason, *, error: str | None = None, at: datetime) -> Timeline:
    """End the session as the caller leaves it. What went wrong, if something did, is an event of the newest turn."""
    simulation = _simulation(timeline)
    head = timeline.head
    if error is not None and head is not None:
        event = TurnEvent(type="execution_error", created_at=at, payload={"message": error, "by": "caller"})
        timeline = timeline.with_turn(head.model_copy(update={"events": (*head.events, event)}))
    stopped = simulation.model_copy(update={"enabled": False, "stopped": reason})
    return rules.end(timeline.model_copy(update={"simulator": stopped}), EndSession(reason=reason), at=at)


def _begun(timeline: Timeline, config: SimulatorConfig, at: datetime) -> Simulation:
    at_turn_id, at_cursor = _place_in(timeline)
    return Simulation(enabled=True, config=config, since=at, at_turn_id=at_turn_id, at_cursor=at_cursor)


def _limit_reached(simulation: Simulation, timeline: Timeline) -> StopReason | None:
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


def _simulation(timeline: Timeline) -> Simulation:
    if timeline.simulator is None:
        raise CommandRejected("validation_error", "There is no simulated caller in this session.")
    return timeline.simulator


def _place_in(timeline: Timeline) -> tuple[str | None, bool]:
    """Where the next message goes: after the newest turn that is seen, and whether a rewind points there."""
    return _head_id(timeline), timeline.cursor is not None


def _head_id(timeline: Timeline) -> str | None:
    return timeline.head.id if timeline.head else None


def _aside_of(turn: Turn) -> str | None:
    """The aside under which the message of a turn was bought, if a caller's model wrote it."""
    message_id = turn.user_message.message_id if turn.user_message else None
    if message_id is None or not message_id.startswith(f"{SPEAKER}turn_"):
        return None
    return message_id.removeprefix(SPEAKER)


def _newest(newest_first: list[Spoken]) -> Iterator[Spoken]:
    left = MAX_HEARD_CHARACTERS
    for spoken in newest_first:
        left -= len(spoken.text)
        if left < 0:
            return
        yield spoken


def _answer_of(turn: Turn | None) -> list[str]:
    return [turn.assistant_message.text] if turn is not None and turn.assistant_message is not None else []


def _heard_last(timeline: Timeline) -> str:
    return next(iter(_answer_of(timeline.head)), "")


def _plain(text: str) -> str:
    return " ".join("".join(each if each.isalnum() else " " for each in text.casefold()).split())


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()[:12]
