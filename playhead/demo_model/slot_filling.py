"""The demo model's memory: details collected from the user's messages, the latest value of each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from playhead.demo_model.language import (
    MAX_MESSAGE_CHARACTERS,
    detail_as,
    details_in,
    is_bare_answer,
    is_correction,
    is_question,
    is_small_talk,
    normalized,
    starts_anew,
)
from playhead.demo_model.prompt_parser import Slot, kind_of, last_question

MAX_NOTE_CHARACTERS = 80
"""Upper bound on the characters of a free answer that are repeated."""


@dataclass(frozen=True)
class Line:
    """One message of a conversation. `by_model` marks those of the demo model itself."""

    by_model: bool
    text: str


@dataclass
class Memory:
    """Details by the key of their slot, and the changes by the last message."""

    details: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    unanswered: dict[str, int] = field(default_factory=dict)


def collect_details(lines: Sequence[Line], slots: Sequence[Slot] = ()) -> Memory:
    """Collect details from the whole conversation; later values replace earlier ones."""
    memory = Memory()
    asked: Slot | None = None
    for line in lines:
        if line.by_model:
            asked = last_question(line.text)[1]
            if asked is not None:
                asked = next((slot for slot in slots if slot.label == asked.label), asked)
        else:
            _read_message(memory, line.text, asked)
            asked = None
    return memory


def _read_message(memory: Memory, text: str, asked: Slot | None) -> None:
    if starts_anew(text):
        memory.details.clear()
    found: dict[str, str] = {str(kind): value for kind, value in details_in(text).items()}
    if asked is not None and (given := _given(memory, asked, text)) is not None:
        if asked.kind == "free":
            found.pop(kind_of(asked.label), None)
        found[asked.key] = given
    if asked is not None and asked.kind == "count" and "count" in found:
        found["count"] = _with_noun(found["count"], asked)
    memory.withdrawn = {key for key in memory.details if key not in found and _takes_back(text, key)}
    memory.replaced = {key for key in found if memory.details.get(key, found[key]) != found[key]}
    for key in memory.withdrawn:
        del memory.details[key]
    memory.new = found
    memory.details.update(found)


_UNKNOWN = re.compile(r"\b(?:don't|do not|can't|cannot) (?:know|have|find|remember|say)\b|\bno idea\b|\bnot sure\b")


def _given(memory: Memory, asked: Slot, text: str) -> str | None:
    """The answer to the question just asked. A second answer is accepted as it is."""
    if is_question(text) or not normalized(text).strip(" .!-"):
        return None
    if asked.kind == "free":
        empty = is_bare_answer(text) or is_small_talk(text)
        if not is_correction(text) and not (empty and asked.needs_words):
            return _note(text)
    elif (found := detail_as(asked.kind, text)) is not None:
        return found
    elif is_correction(text) or details_in(text) or is_bare_answer(text):
        return None
    memory.unanswered[asked.key] = memory.unanswered.get(asked.key, 0) + 1
    if memory.unanswered[asked.key] < 2:
        return None
    return "not known" if _UNKNOWN.search(normalized(text)) else _note(text)


def _takes_back(text: str, key: str) -> bool:
    return is_correction(text) and kind_of(key) == kind_of(_subject(text)) != "free"


def _subject(text: str) -> str:
    """The detail that a correction names: "can I change the date" -> "date"."""
    match = re.search(
        r"\b(date|day|time|name|e-?mail|phone|budget|amount|invoice number|party size|number of \w+)\b",
        normalized(text),
    )
    return match[0] if match else ""


def _note(text: str) -> str:
    words = " ".join(text[:MAX_MESSAGE_CHARACTERS].split()).rstrip(" .!")
    return words if len(words) <= MAX_NOTE_CHARACTERS else f"{words[: MAX_NOTE_CHARACTERS - 3].rsplit(' ', 1)[0]}..."


def _with_noun(count: str, asked: Slot) -> str:
    if not count.isdigit():
        return count
    noun = re.search(r"(?:number of|how many) (\w+)", asked.label)
    return f"{count} {noun[1]}" if noun and count != "1" else people_count(count)


def people_count(count: str) -> str:
    """A bare count as a number of people."""
    return "1 person" if count == "1" else f"{count} people"
