"""Transcripts over HTTP: every format, of live and ended sessions of any length."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import delete

from api.sessions import branch_paths
from api.sessions.transcripts import MEDIA_TYPES
from store.database.tables import turns
from tests.support.api_agents import GREETING, library
from tests.support.closed_sessions import cut_views, forgotten
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi, problem

FORMS = [*MEDIA_TYPES]


async def transcript(caller: Caller, session_id: str, form: str = "text") -> str:
    answer = await caller.get(f"/v1/sessions/{session_id}/transcript", format=form)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_a_live_session_is_written_as_people_read_it(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    await caller.push(library(scripted(TextReply("At nine."), TextReply("Yes.\nUntil six.")).string))
    session_id = (await caller.open("library"))["id"]
    await caller.say(session_id, "When do you open?")
    await caller.say(session_id, "On Sundays too?")
    assert await transcript(caller, session_id) == (
        f"Agent: {GREETING}\n"
        "User: When do you open?\n"
        "Agent: At nine.\n"
        "User: On Sundays too?\n"
        "Agent: Yes.\n"
        "  Until six.\n"
    )


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_has_its_media_type_and_a_name_for_its_file(caller: Caller, form: str) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    answer = await caller.get(f"/v1/sessions/{session_id}/transcript", format=form)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == MEDIA_TYPES[form]  # type: ignore[index]  # one of its keys
    assert answer.headers["content-disposition"].startswith(f'inline; filename="{session_id}.')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert GREETING in answer.text


async def test_only_the_visible_branch_is_written(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    session_id = opened["id"]
    await caller.say(session_id, "One")
    await caller.rewind(session_id, opened["turns"][0]["id"])
    assert "User" not in await transcript(caller, session_id)
    await caller.say(session_id, "Two")
    assert [line for line in (await transcript(caller, session_id)).splitlines() if line.startswith("User")] == [
        "User: Two"
    ]


async def test_failed_turns_and_pending_replies_are_marked(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    await caller.push(library(scripted(ErrorReply(401), TextReply("Here.", gate=gate)).string))
    session_id = (await caller.open("library"))["id"]
    await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "One"})
    await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Two"}, wait=False)
    await gate.reached()
    lines = [json.loads(line) for line in (await transcript(caller, session_id, "jsonl")).splitlines()]
    gate.open()
    notes = [(line["index"], line["text"]) for line in lines if line["speaker"] == "note"]
    assert notes[0][1].startswith("The turn failed: ")
    assert notes[1:] == [(2, "The reply is still to come.")]


async def test_a_long_session_is_written_whole_live_and_after_temporal_has_forgotten_it(
    running_api: RunningApi, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the newest turns are in a view, and pages are read one after the other: neither leaves a seam."""
    cut_views(monkeypatch, 3)
    monkeypatch.setattr(branch_paths, "PAGE_SIZE", 2)
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    texts = [f"message {number}" for number in range(6)]
    for text in texts:
        await caller.say(session_id, text)
    await caller.recorded(session_id, turns=7)
    live = {form: await transcript(caller, session_id, form) for form in FORMS}
    entries = json.loads(live["json"])["entries"]
    assert [entry["text"] for entry in entries if entry["speaker"] == "user"] == texts
    assert [json.loads(line) for line in live["jsonl"].splitlines()] == entries

    await caller.end(session_id)
    await forgotten(running_api.client, f"session-{session_id}")
    assert await transcript(caller, session_id) == live["text"] + "Note: The session ended: user_hangup.\n"
    body = json.loads(await transcript(caller, session_id, "json"))
    assert (body["completion_reason"], body["entries"][:-1]) == ("user_hangup", entries)


@pytest.mark.parametrize("form", FORMS)
async def test_a_transcript_says_that_the_record_has_lost_the_beginning(
    running_api: RunningApi, caller: Caller, form: str
) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await caller.say(session_id, "One")
    said = await caller.say(session_id, "Two")
    await caller.recorded(session_id, turns=3)
    await caller.end(session_id)
    await forgotten(running_api.client, f"session-{session_id}")
    first, second, third = (turn["id"] for turn in said["turns"])
    note = "The 2 turns before this one are missing from the record."
    await lose_turns(running_api, session_id, first, second)
    written = await transcript(caller, session_id, form)
    assert "Two" in written
    assert written.index(note) < written.index("Two")
    if form == "json":
        body = json.loads(written)
        entry = body["entries"][0]
        assert (body["is_incomplete"], entry["speaker"], entry["turn_id"]) == (True, "note", second)
    problem(await caller.post(f"/v1/sessions/{session_id}/fork", {}), 404, "not_found")
    await lose_turns(running_api, session_id, third)
    assert "All turns of this conversation are missing from the record." in await transcript(caller, session_id, form)


async def lose_turns(running_api: RunningApi, session_id: str, *turn_ids: str) -> None:
    """Have the store forget turns, as one restored from an older backup has."""
    lost = delete(turns).where(turns.c.session_id == session_id, turns.c.id.in_(turn_ids))
    await running_api.database.write(lambda connection: connection.execute(lost).close())


async def test_an_unknown_format_and_a_foreign_session_are_refused(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    problem(await caller.get(f"/v1/sessions/{session_id}/transcript", format="pdf"), 422, "validation_error")
    async with running_api.caller() as another:
        problem(await another.get(f"/v1/sessions/{session_id}/transcript"), 404, "not_found")
