"""Every call about sessions: opened, talked to, moved about, looked at and ended."""

from dataclasses import replace
from datetime import datetime
from typing import Literal
from uuid import uuid4

from pydantic import JsonValue

from domain.agents.definition import Limits
from domain.sessions.caller_config import SimulatorConfig
from domain.sessions.commands import OnBusy
from domain.sessions.transcript import TranscriptFormat
from domain.turns.turn import SessionStatus
from playhead.client.event_stream import FollowingSession, FollowingTurn
from playhead.client.models import Accepted, Branch, Comparison, Session, SessionSummary, Turn
from playhead.client.requests import Call, Listing, get, given, post, quoted

SESSIONS = "/v1/sessions"


def open_session(
    agent: str,
    *,
    version: int | None = None,
    name: str | None = None,
    initial_context: dict[str, JsonValue] | None = None,
    annotations: dict[str, JsonValue] | None = None,
    limits: Limits | None = None,
    simulator: SimulatorConfig | None = None,
    wait: bool = True,
) -> Call[Session]:
    """Open a session with an agent, by its name or id, and wait until it has greeted (or do not `wait`).

    With a `simulator` a simulated caller talks to the agent from the greeting on. Opening has no id by which a repeat
    is recognised: it is sent again only when it certainly was not accepted.
    """
    body: dict[str, JsonValue] = given(
        agent=agent if version is None else {"id": agent, "version": version},
        name=name,
        initial_context=initial_context,
        annotations=annotations,
        limits=limits.model_dump(mode="json", exclude_unset=True) if limits else None,
        simulator=_switch(True, simulator) if simulator else None,
    )
    return post(SESSIONS, Session.model_validate_json, body, query={} if wait else {"wait": "false"})


def list_sessions(
    *,
    status: SessionStatus | None = None,
    agent: str | None = None,
    suite: str | None = None,
    created_after: datetime | None = None,
    limit: int | None = None,
) -> Listing[SessionSummary]:
    """Sessions, newest first, without their turns."""
    after = created_after.isoformat() if created_after else None
    query = given(status=status, agent=agent, suite=suite, created_after=after)
    return Listing(SESSIONS, SessionSummary, query, limit)


def get_session(session_id: str) -> Call[Session]:
    """The session as it is now, with its newest 200 turns."""
    return get(session_path(session_id), Session.model_validate_json)


def list_turns(session_id: str, *, limit: int | None = None) -> Listing[Turn]:
    """The turns of the visible branch, newest first, back to the greeting."""
    return Listing(session_path(session_id, "turns"), Turn, limit=limit, reversed=True)


def list_branches(session_id: str, *, limit: int | None = None) -> Listing[Branch]:
    """The branches that were given up, newest first."""
    return Listing(session_path(session_id, "branches"), Branch, limit=limit)


def compare_branches(session_id: str, a: str, b: str = "active") -> Call[Comparison]:
    """Two branches side by side, each by its id, or as `active` for what is visible."""
    return get(session_path(session_id, "branches", "compare"), Comparison.model_validate_json, query={"a": a, "b": b})


def get_transcript(session_id: str, form: TranscriptFormat = "text") -> Call[str]:
    """The visible conversation, all of it, as people read it."""
    return get(session_path(session_id, "transcript"), bytes.decode, query={"format": form})


def send_message(
    session_id: str,
    text: str,
    *,
    message_id: str | None = None,
    expected_revision: int | None = None,
    on_busy: OnBusy | None = None,
) -> Call[Session]:
    """Say something and wait for the reply; the session after it.

    The same `message_id` again gives the same answer and says nothing twice. One is made when none is given, and every
    attempt to carry this call bears it.
    """
    body = _message(text, message_id, expected_revision, on_busy)
    return post(session_path(session_id, "messages"), Session.model_validate_json, body, repeatable=True)


def stream_message(
    session_id: str,
    text: str,
    *,
    message_id: str | None = None,
    expected_revision: int | None = None,
    on_busy: OnBusy | None = None,
) -> FollowingTurn:
    """Say something and hear the reply as it is spoken: the events of the turn, up to the one that ends it.

    Everything else is as with `send`. A turn that fails after it has begun ends with `turn_failed` and raises nothing.
    """
    call = send_message(session_id, text, message_id=message_id, expected_revision=expected_revision, on_busy=on_busy)
    return FollowingTurn(replace(call, headers={**call.headers, "Accept": "text/event-stream"}))


def watch_session(session_id: str, *, after: int | None = None) -> FollowingSession:
    """What happens in a session, until it is over: a snapshot of it, and every event since, once and in order.

    With `after` no snapshot comes, but everything after the event of that number; 0 is the whole log.
    """
    call = get(session_path(session_id, "events"), Session.model_validate_json)
    return FollowingSession(call, get_session(session_id), after)


def submit_message(
    session_id: str,
    text: str,
    *,
    message_id: str | None = None,
    expected_revision: int | None = None,
    on_busy: OnBusy | None = None,
) -> Call[Accepted]:
    """Say something without waiting for the reply: the turn that will answer it."""
    body = _message(text, message_id, expected_revision, on_busy)
    return post(
        session_path(session_id, "messages"),
        Accepted.model_validate_json,
        body,
        query={"wait": "false"},
        repeatable=True,
    )


def rewind(
    session_id: str, turn_id: str | None, *, before: bool = False, expected_revision: int | None = None
) -> Call[Session]:
    """Go back to a turn, or to `before` it; None goes forward again to the newest turn. Nothing is deleted."""
    body: dict[str, JsonValue] = {"turn_id": turn_id, "before": before, **given(expected_revision=expected_revision)}
    return post(session_path(session_id, "rewind"), Session.model_validate_json, body)


def decide(
    session_id: str,
    call_id: str,
    decision: Literal["approve", "deny"],
    *,
    reason: str | None = None,
    expected_revision: int | None = None,
) -> Call[Session]:
    """Let a tool call that waits for a person be made, or not."""
    body: dict[str, JsonValue] = given(reason=reason, expected_revision=expected_revision)
    path = session_path(session_id, "approvals", call_id, decision)
    return post(path, Session.model_validate_json, body)


def set_simulator(
    session_id: str,
    *,
    enabled: bool = True,
    config: SimulatorConfig | None = None,
    expected_revision: int | None = None,
) -> Call[Session]:
    """Switch a simulated caller on or off. Without a `config` the one that the session has goes on."""
    body = {**_switch(enabled, config), **given(expected_revision=expected_revision)}
    call = post(session_path(session_id, "simulator"), Session.model_validate_json, body, repeatable=True)
    return replace(call, method="PUT")


def end_session(session_id: str, *, reason: str | None = None, expected_revision: int | None = None) -> Call[Session]:
    """End the session. Ending an ended one changes nothing."""
    body: dict[str, JsonValue] = given(reason=reason, expected_revision=expected_revision)
    return post(session_path(session_id, "end"), Session.model_validate_json, body, repeatable=True)


def erase_session(session_id: str) -> Call[None]:
    """Erase the session everywhere; what it cost stays. Erasing it again changes nothing."""
    return Call("DELETE", session_path(session_id), _nothing, repeatable=True)


def _nothing(content: bytes) -> None:
    """An answer without a body."""
    if content:
        raise ValueError("an answer without content has some")


def _switch(enabled: bool, config: SimulatorConfig | None) -> dict[str, JsonValue]:
    return {
        "enabled": enabled,
        **given(config=config.model_dump(mode="json", exclude_unset=True) if config else None),
    }


def _message(
    text: str, message_id: str | None, expected_revision: int | None, on_busy: OnBusy | None
) -> dict[str, JsonValue]:
    return given(
        text=text,
        message_id=message_id or f"msg_{uuid4().hex}",
        expected_revision=expected_revision,
        on_busy=on_busy,
    )


def session_path(session_id: str, *parts: str) -> str:
    """The address of a session, or of something below it."""
    return "/".join((SESSIONS, quoted(session_id), *map(quoted, parts)))


def edit_message(
    session_id: str, turn_id: str, text: str, *, message_id: str | None = None, expected_revision: int | None = None
) -> Call[Session]:
    """Say something else in a turn, and wait for the reply: what was there, and all that came after it, gives way.

    It is kept as a discarded branch. A `message_id` is made when none is given, and every attempt bears it.
    """
    body: dict[str, JsonValue] = {"text": text, **_identified(message_id, expected_revision)}
    path = session_path(session_id, "turns", turn_id, "edit")
    return post(path, Session.model_validate_json, body, repeatable=True)


def regenerate(
    session_id: str, turn_id: str, *, message_id: str | None = None, expected_revision: int | None = None
) -> Call[Session]:
    """Have a turn answered again, and wait for the reply. The old answer, and all that came after it, is kept."""
    path = session_path(session_id, "turns", turn_id, "regenerate")
    return post(path, Session.model_validate_json, _identified(message_id, expected_revision), repeatable=True)


def cancel_turn(session_id: str, *, expected_revision: int | None = None) -> Call[Session]:
    """Stop the reply that is being generated; what was said of it stays."""
    body: dict[str, JsonValue] = given(expected_revision=expected_revision)
    return post(session_path(session_id, "cancel"), Session.model_validate_json, body)


def restore_branch(session_id: str, branch_id: str, *, expected_revision: int | None = None) -> Call[Session]:
    """Go back to a branch that was given up. The present one is given up for it, and kept."""
    body: dict[str, JsonValue] = given(expected_revision=expected_revision)
    return post(session_path(session_id, "branches", branch_id, "restore"), Session.model_validate_json, body)


def fork_session(
    session_id: str,
    *,
    turn_id: str | None = None,
    agent: str | None = None,
    version: int | None = None,
    model: str | None = None,
    name: str | None = None,
) -> Call[Session]:
    """Open a new session that goes on from a turn of any branch, or from where this one stands.

    It may go on with another `agent` that knows the node, or with another `model`. Only its own turns are billed to it.
    """
    named: JsonValue = agent if version is None else {"id": agent, "version": version}
    body: dict[str, JsonValue] = given(turn_id=turn_id, agent=named, model=model, name=name)
    return post(session_path(session_id, "fork"), Session.model_validate_json, body)


def _identified(message_id: str | None, expected_revision: int | None) -> dict[str, JsonValue]:
    return given(message_id=message_id or f"msg_{uuid4().hex}", expected_revision=expected_revision)
