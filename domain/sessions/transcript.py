"""Transcripts of conversations as text, Markdown, JSON or JSON lines, written turn by turn.

A transcript has a header and entries. A style writes the header, each entry and the end separately, so that a
conversation of any length can be streamed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import JsonValue

from domain.agents.graph_validation import transition_tool_name
from domain.durable import FrozenModel
from domain.turns.recordings import describe_recording
from domain.turns.turn import Turn, TurnEvent

TranscriptFormat = Literal["text", "markdown", "json", "jsonl"]
Speaker = Literal["user", "agent", "tool", "note"]

MAX_TOOL_TEXT_CHARACTERS: Final = 200
"""Maximum characters of the arguments, and of the result, of a tool call in a transcript."""


class TranscriptHeader(FrozenModel):
    """The session of a transcript, as of a point in time. `completion_reason` is None until the session ends.

    `is_incomplete` is true if turns that the conversation continued from are missing from the record.
    """

    session_id: str
    name: str
    agent: str
    agent_version: int
    created_at: datetime
    completion_reason: str | None
    as_of: datetime
    is_incomplete: bool = False


class Entry(FrozenModel):
    """A message, a tool call, or a note about a turn. `index` is that of the turn."""

    turn_id: str
    index: int
    at: datetime
    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class TranscriptStyle:
    """Functions and texts that write a format: the header, each entry, the separator, and the end."""

    opening: Callable[[TranscriptHeader], str]
    entry: Callable[[Entry], str]
    between: str = ""
    closing: str = ""


def entries_of(turn: Turn) -> Iterator[Entry]:
    """The entries of a turn, in reading order."""
    if turn.user_message is not None:
        yield _entry(turn, "user", turn.user_message.text, turn.user_message.created_at)
    for called, answered in _calls(turn):
        yield _entry(turn, "tool", _call(called, answered), called.created_at)
    for event in turn.events:
        if event.type == "recording_referenced":
            yield _entry(turn, "note", f"The agent refers to a {describe_recording(event.payload)}", event.created_at)
    if turn.assistant_message is not None:
        yield _entry(turn, "agent", turn.assistant_message.text, turn.assistant_message.created_at)
    if turn.status != "completed":
        last_message = turn.assistant_message or turn.user_message
        yield _entry(turn, "note", _outcome(turn), last_message.created_at if last_message else turn.created_at)
    for event in turn.events:
        if event.type == "session_end":
            yield _entry(turn, "note", f"The session ended: {event.payload.get('reason')}.", event.created_at)


def gap_before(turn: Turn) -> Entry | None:
    """The note about lost turns; None if the first turn of the transcript is the first turn of its conversation."""
    if turn.parent_id is None:
        return None
    lost = "The turn before this one is" if turn.index == 1 else f"The {turn.index} turns before this one are"
    return _gap(turn.parent_id, turn.index - 1, turn.created_at, f"{lost} missing from the record.")


def gap_at_the_end(turn_id: str, at: datetime) -> Entry:
    """The note about a conversation that reached this turn, although none of its turns is recorded."""
    return _gap(turn_id, 0, at, "All turns of this conversation are missing from the record.")


def _gap(turn_id: str, index: int, at: datetime, text: str) -> Entry:
    return Entry(turn_id=turn_id, index=max(index, 0), at=at, speaker="note", text=text)


def _entry(turn: Turn, speaker: Speaker, text: str, at: datetime) -> Entry:
    return Entry(turn_id=turn.id, index=turn.index, at=at, speaker=speaker, text=text)


def _outcome(turn: Turn) -> str:
    match turn.status:
        case "failed":
            return f"The turn failed: {turn.error or 'unknown error'}"
        case "interrupted":
            return "The reply was interrupted."
        case _:
            return "The reply is still to come."


def _calls(turn: Turn) -> list[tuple[TurnEvent, TurnEvent | None]]:
    """The tool calls of a turn with their results, without those that are transitions to another node.

    A model may reuse the id of a call that has its result.
    """
    transitions = {
        transition_tool_name(str(event.payload.get("transition")))
        for event in turn.events
        if event.type == "node_transition"
    }
    calls: list[tuple[TurnEvent, TurnEvent | None]] = []
    waiting: dict[str, int] = {}
    for event in turn.events:
        call_id = str(event.payload.get("call_id"))
        if event.type == "tool_call_started" and event.payload.get("name") not in transitions:
            waiting[call_id] = len(calls)
            calls.append((event, None))
        elif event.type == "tool_call_result" and call_id in waiting:
            index = waiting.pop(call_id)
            calls[index] = (calls[index][0], event)
    return calls


def _call(start: TurnEvent, end: TurnEvent | None) -> str:
    """A call as `find_table(guests: 4) -> Table 7`."""
    value = start.payload.get("arguments")
    arguments = value if isinstance(value, dict) else {}
    shown = ", ".join(f"{name}: {_value_text(value)}" for name, value in arguments.items())
    result = _truncated(_value_text(end.payload.get("result"))) if end else "no answer"
    return f"{start.payload.get('name')}({_truncated(shown)}) -> {result}"


def _value_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _truncated(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TOOL_TEXT_CHARACTERS else f"{line[: MAX_TOOL_TEXT_CHARACTERS - 1]}…"


SPEAKER_LABELS: Final[Mapping[Speaker, str]] = {"user": "User", "agent": "Agent", "tool": "Tool", "note": "Note"}


def _text(entry: Entry) -> str:
    """The entry as text. Further lines are indented, so that a message cannot imitate an entry of another speaker."""
    first, *more = entry.text.splitlines() or [""]
    return "".join(
        f"{line}\n" for line in (f"{SPEAKER_LABELS[entry.speaker]}: {first}", *(f"  {line}" for line in more))
    )


def _markdown(entry: Entry) -> str:
    if entry.speaker in ("tool", "note"):
        return f"\n*{SPEAKER_LABELS[entry.speaker]}:* {_code(' '.join(entry.text.split()))}\n"
    quoted = "".join(f"> {line}".rstrip() + "\n" for line in entry.text.splitlines() or [""])
    return f"\n**{SPEAKER_LABELS[entry.speaker]}**\n\n{quoted}"


def _code(line: str) -> str:
    """A line as Markdown code, whatever it contains."""
    fence = "`"
    while fence in line:
        fence += "`"
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def _markdown_title(title: TranscriptHeader) -> str:
    began = title.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    ended = f", ended: {title.completion_reason}" if title.completion_reason else ""
    about = f"Session {title.session_id} with {title.agent} version {title.agent_version}, {began}{ended}"
    return f"# {' '.join(title.name.split())}\n\n{' '.join(about.split())}\n"


def _json_title(title: TranscriptHeader) -> str:
    return title.model_dump_json()[:-1] + ',"entries":['


STYLES: Final[Mapping[TranscriptFormat, TranscriptStyle]] = {
    "text": TranscriptStyle(opening=lambda _: "", entry=_text),
    "markdown": TranscriptStyle(opening=_markdown_title, entry=_markdown),
    "json": TranscriptStyle(opening=_json_title, entry=Entry.model_dump_json, between=",", closing="]}\n"),
    "jsonl": TranscriptStyle(opening=lambda _: "", entry=lambda entry: entry.model_dump_json() + "\n"),
}
"""The style of each format."""
