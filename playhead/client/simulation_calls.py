"""The calls that take a simulated conversation further: a fork of its session, and a caller for the fork."""

from pydantic import JsonValue
from pydantic_core import to_json

from domain.simulator import SimulatorConfig
from playhead.client.call import Call, given, post, quoted
from playhead.client.results import Session
from playhead.client.session_calls import SESSIONS


def fork_session(
    session_id: str,
    *,
    turn_id: str | None = None,
    agent: str | None = None,
    version: int | None = None,
    model: str | None = None,
    name: str | None = None,
) -> Call[Session]:
    """Begin a new session that goes on from a turn of this one (its newest unless one is named).

    It may go on with another agent, another version of it, or another model.
    """
    body: dict[str, JsonValue] = given(
        turn_id=turn_id,
        agent=agent if agent is None or version is None else {"id": agent, "version": version},
        model=model,
        name=name,
    )
    return post(f"{SESSIONS}/{quoted(session_id)}/fork", Session.model_validate_json, body)


def set_simulator(session_id: str, *, enabled: bool, config: SimulatorConfig | None = None) -> Call[Session]:
    """Switch a simulated caller on or off. Without a `config` the one that was there goes on."""
    body: dict[str, JsonValue] = {"enabled": enabled}
    if config is not None:
        body["config"] = config.model_dump(mode="json")
    return Call(
        "PUT",
        f"{SESSIONS}/{quoted(session_id)}/simulator",
        Session.model_validate_json,
        content=to_json(body),
        headers={"Content-Type": "application/json"},
        repeatable=True,
    )
