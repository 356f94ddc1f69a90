"""References to recordings: left out of the text, kept as events of the turn, held back while a reply streams."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from domain.agents.definition import AgentDefinition, Node, Transition, parse_definition
from domain.sessions.transcript import entries_of
from domain.turns.engine import ModelReply, ToolCall, TurnProgress, begin_turn, instructions_at, start_checkpoint
from domain.turns.recordings import Recording, certain_text, split_recordings
from domain.turns.turn import AgentSaid, Checkpoint, Turn
from tests.domain.turns.answering import AT, after, asked

WELCOME = "RECORDING_ID: welcome [ Welcome to the library. ]"

DESK = AgentDefinition(
    name="desk",
    start="desk",
    nodes={
        "desk": Node(
            prompt=f"Help. {WELCOME}",
            greeting=WELCOME,
            transitions=(Transition(name="more", when="more", to="more", say="RECORDING_ID: 17\nOne moment."),),
        ),
        "more": Node(prompt="Help more."),
    },
)


@pytest.mark.parametrize(
    ("text", "visible", "recordings"),
    [
        ("Hello.", "Hello.", []),
        ("  Hello.\n", "  Hello.\n", []),
        ("RECORDING_ID: 17", "", [("17", "")]),
        ("RECORDING_ID:17", "", [("17", "")]),
        (WELCOME, "", [("welcome", "Welcome to the library.")]),
        (f"Hello.\n{WELCOME}\nBye.", "Hello.\nBye.", [("welcome", "Welcome to the library.")]),
        (f"Hello {WELCOME} there", "Hello there", [("welcome", "Welcome to the library.")]),
        ("RECORDING_ID: a.b-c_1. Yes?", ". Yes?", [("a.b-c_1", "")]),
        (f"{WELCOME}{WELCOME}", "", [("welcome", "Welcome to the library.")] * 2),
        ("RECORDING_ID: a [ never closed", "[ never closed", [("a", "")]),
        ("RECORDING_ID:", "RECORDING_ID:", []),
        ("RECORDING_ID: ?", "RECORDING_ID: ?", []),
    ],
)
def test_references_are_taken_out_of_a_text(text: str, visible: str, recordings: list[tuple[str, str]]) -> None:
    assert split_recordings(text) == (visible, tuple(Recording(*each) for each in recordings))


PARTS = st.sampled_from(
    [
        "Hello",
        " ",
        "\n",
        "RECORDING_ID:",
        "RECORD",
        "R",
        " 17",
        "a.b",
        "[",
        " words ",
        "]",
        ".",
        WELCOME,
        "\nRECORDING_ID: x\n",
    ]
)


@example("RECORDING_ID: a.b")
@example("RECORDING_ID: aRECORDING_ID:")
@given(st.lists(PARTS, max_size=12).map("".join))
def test_a_streamed_text_only_grows_and_ends_as_it_is_recorded(text: str) -> None:
    final = split_recordings(text.strip())[0].strip()
    shown = ""
    for end in range(len(text) + 1):
        now = certain_text(text[:end].strip()).strip()
        assert now.startswith(shown)
        shown = now
    assert final.startswith(shown)


def test_a_text_without_end_is_split_in_time() -> None:
    for text in ("RECORDING_ID: " * 50_000, "RECORDING_ID: a [" * 50_000, " " * 500_000 + "RECORDING_ID: a"):
        split_recordings(text)
        certain_text(text)


def opening(agent: AgentDefinition = DESK, **context: JsonValue) -> TurnProgress:
    return begin_turn(agent, start_checkpoint(agent), turn_id="t0", user_text=None, at=AT, initial_context=context)


def referred(progress: TurnProgress) -> list[dict[str, JsonValue]]:
    return [event.payload for event in progress.events if event.type == "recording_referenced"]


def test_a_recorded_greeting_is_an_event_without_text() -> None:
    progress = opening()
    assert (progress.outcome, progress.said) == ("answered", ())
    assert referred(progress) == [
        {"recording_id": "welcome", "source": "greeting", "transcript": "Welcome to the library."}
    ]
    assert progress.messages == (AgentSaid(text=WELCOME),), "the model knows what was played"


def test_a_greeting_override_can_be_a_recording() -> None:
    override: JsonValue = {"type": "audio", "recording_id": "other"}
    progress = opening(greeting_override=override)
    assert (progress.text, referred(progress)) == ("", [{"recording_id": "other", "source": "greeting"}])
    missing: JsonValue = {"type": "audio"}
    assert referred(opening(greeting_override=missing))[0]["recording_id"] == "welcome"


def test_the_words_of_a_transition_and_of_the_model_are_said_without_their_references() -> None:
    moved = after(
        asked(checkpoint=Checkpoint(node_id="desk"), agent=DESK),
        ModelReply(tool_calls=(ToolCall(id="c", name="more"),)),
        agent=DESK,
    )
    answered = after(moved, ModelReply(text=f"Here it is.\n{WELCOME}"), agent=DESK)
    assert (answered.outcome, answered.text) == ("answered", "One moment.\n\nHere it is.")
    assert [(each["recording_id"], each["source"]) for each in referred(answered)] == [
        ("17", "transition"),
        ("welcome", "reply"),
    ]


def test_a_reply_that_is_a_recording_answers_the_turn() -> None:
    answered = after(asked(checkpoint=Checkpoint(node_id="desk"), agent=DESK), ModelReply(text=WELCOME), agent=DESK)
    assert (answered.outcome, answered.said, len(referred(answered))) == ("answered", (), 1)


def test_an_agent_without_recordings_says_what_its_model_wrote() -> None:
    agent = parse_definition({"name": "a", "start": "a", "nodes": {"a": {"prompt": "Talk."}}})
    progress = after(asked(checkpoint=Checkpoint(node_id="a"), agent=agent), ModelReply(text=WELCOME), agent=agent)
    assert (progress.text, referred(progress)) == (WELCOME, [])


def test_instructions_explain_recorded_speech_only_where_there_is_any() -> None:
    assert "recorded speech" in instructions_at(DESK, "desk", {})
    assert "recorded speech" not in instructions_at(DESK, "more", {})


def test_a_transcript_shows_the_recording_as_a_note() -> None:
    turn = Turn(id="t", parent_id=None, index=0, status="completed", created_at=AT, events=opening().events)
    (note,) = entries_of(turn)
    assert (note.speaker, note.text) == ("note", "The agent refers to a recording welcome: Welcome to the library.")
