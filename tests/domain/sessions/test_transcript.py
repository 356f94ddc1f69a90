"""Transcripts: the content of a turn, in each format."""

import json
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from domain.sessions.transcript import (
    MAX_TOOL_TEXT_CHARACTERS,
    STYLES,
    Entry,
    Speaker,
    TranscriptFormat,
    TranscriptHeader,
    entries_of,
    gap_before,
)
from domain.sessions.turn_completion import complete
from domain.turns.turn import Turn, TurnEvent
from tests.support.conversation import BEGINNING, Conversation, answered

TITLE = TranscriptHeader(
    session_id="ses_1",
    name="WR-TEXT-ABCDEF",
    agent="booking-line",
    agent_version=3,
    created_at=BEGINNING,
    completion_reason="user_hangup",
    as_of=BEGINNING + timedelta(minutes=1),
)


def said(talk: Conversation) -> list[tuple[str, str]]:
    """The entries of the newest turn."""
    return [(entry.speaker, entry.text) for entry in entries_of(talk.head)]


def written(form: TranscriptFormat, *entries: Entry) -> str:
    style = STYLES[form]
    return style.opening(TITLE) + style.between.join(map(style.entry, entries)) + style.closing


def entry(text: str, speaker: Speaker = "user") -> Entry:
    return Entry(turn_id="t1", index=1, at=BEGINNING, speaker=speaker, text=text)


def event(kind: str, second: int, **payload: JsonValue) -> TurnEvent:
    at = BEGINNING + timedelta(seconds=second)
    return TurnEvent.model_validate({"type": kind, "created_at": at, "payload": payload})


def with_events(*events: TurnEvent) -> Conversation:
    talk = Conversation().greeted()
    turn_id = talk.say("A table for four.")
    progress = answered(turn_id, "Table 7 is yours.", events=events)
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    return talk


# --- the entries of a turn ----------------------------------------------------------------------


def test_a_greeting_has_one_entry_and_every_other_turn_has_two() -> None:
    talk = Conversation().greeted("Good evening.")
    assert said(talk) == [("agent", "Good evening.")]
    talk.exchange("A table.", "For how many?")
    assert said(talk) == [("user", "A table."), ("agent", "For how many?")]


def test_entries_have_their_turn_and_their_time() -> None:
    talk = Conversation().greeted()
    talk.exchange("A table.")
    user, agent = entries_of(talk.head)
    assert (user.turn_id, user.index) == (talk.head.id, 1)
    assert user.at < agent.at


def test_a_failed_turn_shows_its_error() -> None:
    talk = Conversation().greeted()
    talk.say("A table.")
    talk.fail("The model is away.")
    assert said(talk) == [("user", "A table."), ("note", "The turn failed: The model is away.")]


def test_the_text_before_an_interruption_is_kept_and_marked() -> None:
    talk = Conversation().greeted()
    talk.say("A table.")
    talk.interrupt("For how")
    assert said(talk) == [("user", "A table."), ("agent", "For how"), ("note", "The reply was interrupted.")]


def test_a_pending_reply_is_shown_as_pending() -> None:
    talk = Conversation().greeted()
    talk.say("A table.")
    assert said(talk)[-1] == ("note", "The reply is still to come.")


def test_the_end_of_the_session_is_the_last_entry() -> None:
    talk = Conversation().greeted("Good evening.")
    talk.end("the building burns")
    assert said(talk) == [("agent", "Good evening."), ("note", "The session ended: the building burns.")]


def test_tool_calls_are_shown_briefly_between_message_and_reply() -> None:
    talk = with_events(
        event("tool_call_started", 1, call_id="c1", name="find_table", arguments={"guests": 4, "day": "Friday"}),
        event("node_transition", 2, from_node="greet", to_node="booking"),
        event("tool_call_result", 2, call_id="c1", name="find_table", result="Table\n7"),
    )
    assert said(talk) == [
        ("user", "A table for four."),
        ("tool", "find_table(guests: 4, day: Friday) -> Table 7"),
        ("agent", "Table 7 is yours."),
    ]


def test_a_transition_is_not_shown_as_a_tool_call() -> None:
    talk = with_events(
        event("tool_call_started", 1, call_id="c1", name="to_booking", arguments={}),
        event("node_transition", 1, from_node="greet", to_node="booking", transition="To booking"),
        event("tool_call_result", 1, call_id="c1", name="to_booking", result="The conversation is now at booking."),
        event("tool_call_started", 2, call_id="c1", name="find_table", arguments={}),
    )
    assert [text for speaker, text in said(talk) if speaker == "tool"] == ["find_table() -> no answer"]


def test_tool_results_are_matched_by_call_id_and_missing_ones_are_shown() -> None:
    talk = with_events(
        event("tool_call_started", 1, call_id="c1", name="a", arguments={}),
        event("tool_call_started", 1, call_id="c2", name="b", arguments={"x": [1, None]}),
        event("tool_call_result", 2, call_id="c2", name="b", result={"ok": True}),
        event("tool_call_started", 3, call_id="c2", name="b", arguments={}),
        event("tool_call_result", 4, call_id="c2", name="b", result="again"),
    )
    shown = [text for speaker, text in said(talk) if speaker == "tool"]
    assert shown == ["a() -> no answer", 'b(x: [1, null]) -> {"ok": true}', "b() -> again"]


def test_a_long_answer_of_a_tool_is_cut() -> None:
    talk = with_events(
        event("tool_call_started", 1, call_id="c1", name="read", arguments={"page": "p" * 1_000}),
        event("tool_call_result", 2, call_id="c1", name="read", result="r" * 1_000_000),
    )
    (shown,) = [text for speaker, text in said(talk) if speaker == "tool"]
    assert len(shown) < 2 * MAX_TOOL_TEXT_CHARACTERS + 50
    assert shown.endswith("r…")


# --- the forms ----------------------------------------------------------------------------------


def test_text_is_a_line_for_each_entry() -> None:
    assert (
        written("text", entry("A table."), entry("For how many?", "agent")) == "User: A table.\nAgent: For how many?\n"
    )


def test_a_message_cannot_fake_a_line_of_the_transcript() -> None:
    text = written("text", entry("One.\nAgent: Take everything.\r\nNote: done."))
    assert text == "User: One.\n  Agent: Take everything.\n  Note: done.\n"


def test_markdown_quotes_what_was_said_under_a_title() -> None:
    text = written("markdown", entry("One.\n\n# Two"), entry("Three.", "agent"), entry("find() -> `x`", "tool"))
    assert text == (
        "# WR-TEXT-ABCDEF\n\n"
        "Session ses_1 with booking-line version 3, 2026-01-01 12:00 UTC, ended: user_hangup\n\n"
        "**User**\n\n> One.\n>\n> # Two\n\n"
        "**Agent**\n\n> Three.\n\n"
        "*Tool:* `` find() -> `x` ``\n"
    )


def test_json_is_one_object_with_title_and_entries() -> None:
    first, second = entry('"ä"'), entry("b", "agent")
    body = json.loads(written("json", first, second))
    assert body.pop("entries") == [each.model_dump(mode="json") for each in (first, second)]
    assert TranscriptHeader.model_validate(body) == TITLE


def test_json_lines_are_an_entry_each() -> None:
    first, second = entry("one\ntwo"), entry("b", "agent")
    lines = written("jsonl", first, second).splitlines()
    assert [Entry.model_validate_json(line) for line in lines] == [first, second]


def test_a_transcript_of_nothing_is_empty() -> None:
    assert (written("text"), written("jsonl")) == ("", "")
    assert json.loads(written("json"))["entries"] == []


def test_a_time_is_shown_in_utc() -> None:
    east = datetime.fromisoformat("2026-01-01T14:00:00+02:00")
    assert "2026-01-01 12:00 UTC" in STYLES["markdown"].opening(TITLE.model_copy(update={"created_at": east}))
    assert east == BEGINNING.astimezone(UTC)


def test_missing_turns_before_the_first_one_are_noted() -> None:
    first = Turn(id="turn_2", parent_id="turn_1", index=2, created_at=BEGINNING)
    gap = gap_before(first)
    assert gap is not None
    assert (gap.turn_id, gap.index, gap.speaker) == ("turn_1", 1, "note")
    assert gap.text == "The 2 turns before this one are missing from the record."
    assert gap_before(first.model_copy(update={"parent_id": None, "index": 0})) is None
