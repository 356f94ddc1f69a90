"""The calls that take a session another way: edits, new answers, stopped replies, restored branches and forks."""

from uuid import uuid4

from pydantic import JsonValue

from playhead.client.call import Call, given, post
from playhead.client.results import Session
from playhead.client.session_calls import session_path


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
