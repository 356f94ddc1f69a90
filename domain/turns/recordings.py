"""References to recorded speech in texts: `RECORDING_ID: welcome [ Welcome to the library. ]`.

A voice platform plays the recording. A text chat cannot: the reference is removed from the text and becomes an event
of the turn. The text in brackets is the transcript of the recording.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue

from domain.agents.definition import RECORDING_MARK as MARK

RECORDING_INSTRUCTIONS: Final = (
    f"{MARK} lines name recorded speech, with its words in brackets. To have the user hear a recording, write its "
    "whole line as it stands, on a line of its own, and nothing that repeats its words."
)
_MAX_TRANSCRIPT_CHARACTERS: Final = 2_000
_REFERENCE = re.compile(
    rf"{MARK}[ \t]*([\w-]+(?:\.[\w-]+)*)(?:[ \t]*\[[ \t]*([^\[\]\n]{{0,{_MAX_TRANSCRIPT_CHARACTERS}}})\])?"
)
# After a complete reference: a dot, which its id may go on with, or the beginning of a transcript.
_OPEN_END = re.compile(rf"\.|[ \t]*(?:\[[^\[\]\n]{{0,{_MAX_TRANSCRIPT_CHARACTERS}}})?")
_OPEN_REFERENCE = re.compile(rf"{MARK}[ \t]*")


class Recording(NamedTuple):
    """A recording that a text refers to. `transcript` is empty where the text does not have it."""

    id: str
    transcript: str


def reference_to(recording_id: str, text: str = "") -> str:
    """A reference to a recording, followed by the text if there is any."""
    return f"{MARK} {recording_id}\n{text}" if text else f"{MARK} {recording_id}"


def split_recordings(text: str) -> tuple[str, tuple[Recording, ...]]:
    """The text without its references, and the recordings that it refers to. A text without any stays as it is."""
    if MARK not in text:
        return text, ()
    found, kept, end = [], [], 0
    for match in _REFERENCE.finditer(text):
        found.append(Recording(match[1], (match[2] or "").strip()))
        kept.append(text[end : match.start()].rstrip())
        end = match.end()
    if not found:
        return text, ()
    return "".join([*kept, text[end:]]).strip(), tuple(found)


def describe_recording(payload: Mapping[str, JsonValue]) -> str:
    """The payload of an event about a recording in a few words, on one line."""
    transcript = " ".join(str(payload.get("transcript") or "").split())
    return f"recording {payload.get('recording_id')}" + (f": {transcript}" if transcript else "")


def certain_text(received: str) -> str:
    """The beginning of a text that streams in, up to what may become a reference, without its references."""
    return split_recordings(received[: _certain_end(received)])[0]


def _certain_end(text: str) -> int:
    """The position up to which more text changes nothing: before a reference that is not complete, or may begin."""
    read = 0
    while (start := text.find(MARK, read)) >= 0:
        match = _REFERENCE.match(text, start)
        if match is None:
            if _OPEN_REFERENCE.fullmatch(text, start):
                return start
            read = start + len(MARK)
        elif match[2] is None and _OPEN_END.fullmatch(text, match.end()):
            return start
        else:
            read = match.end()
    for length in range(min(len(MARK) - 1, len(text) - read), 0, -1):
        if text.endswith(MARK[:length]):
            return len(text) - length
    return len(text)
