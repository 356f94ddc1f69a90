"""Forks of suite runs: a run continues from one of its turns, with the same simulated user."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from playhead.exit_codes import USAGE, CommandFailed

if TYPE_CHECKING:
    from playhead_client import Playhead, Session, SimulatorConfig, Turn

POLL_SECONDS = 0.5


def session_of_run(api: "Playhead", suite_id: str, scenario: str, repeat: int) -> str:
    """The session of a run of a suite. Raises CommandFailed if the suite has not run this scenario and repeat."""
    started = {run.repeat: run.session_id for run in api.suites.runs(suite_id, scenario=scenario) if run.session_id}
    if repeat in started:
        return started[repeat]
    if started:
        hint = f"Its repeats are {', '.join(map(str, sorted(started)))}."
    else:
        known = api.suites.get(suite_id).scenarios
        run = [each.id for each in known if each.passed + each.failed + each.inconclusive]
        hint = f"Its scenarios are {', '.join(run) or 'not run yet'}."
    raise CommandFailed(f"The suite {suite_id} has no run {scenario} {repeat}.", status=USAGE, hint=hint)


def find_turn(api: "Playhead", session_id: str, turn_name: str) -> "Turn":
    """A turn of a session, by number (from 1) or id. Raises CommandFailed if there is none."""
    turns = list(api.sessions.turns(session_id))
    found = next((turn for turn in turns if turn_name in (turn.id, str(turn.index + 1))), None)
    if found is None:
        last = max((turn.index + 1 for turn in turns), default=0)
        raise CommandFailed(
            f"The session {session_id} has no turn {turn_name}.",
            status=USAGE,
            hint=f"Its turns are 1 to {last}; `playhead sessions show {session_id}` shows them with their ids.",
        )
    return found


def fork_run(
    api: "Playhead", source: "Session", turn: "Turn", *, agent: str | None, model: str | None
) -> tuple["Session", "SimulatorConfig | None"]:
    """Fork a session at a turn and start its simulated user in the fork; returns the fork and the simulated user."""
    from playhead_client import SimulatorConfig

    name, _, version = (agent or "").partition("@")
    if version and not version.isdecimal():
        raise CommandFailed(f"{agent!r} has no valid version; expected a number, such as {name}@3.", status=USAGE)
    forked = api.sessions.fork(
        source.id,
        turn_id=turn.id,
        agent=name or None,
        version=int(version) if version else None,
        model=model,
    )
    simulated_user = SimulatorConfig.model_validate(source.simulator["config"]) if source.simulator else None
    if simulated_user is not None:
        forked = api.sessions.set_simulator(forked.id, enabled=True, config=simulated_user)
    return forked, simulated_user


def follow_turns(
    api: "Playhead", session_id: str, known: int, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator["Turn"]:
    """The turns of a session after the first `known`, each once it has ended, until the session ends."""
    while True:
        session = api.sessions.get(session_id)
        closed = [turn for turn in session.turns if turn.index >= known and turn.status != "pending"]
        yield from closed
        known = max((turn.index + 1 for turn in closed), default=known)
        if session.is_completed:
            return
        sleep(POLL_SECONDS)
