"""Divides the text of a document into passages: by headings and pages, then by paragraphs, sentences and words."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

MAX_PASSAGE_CHARACTERS: Final = 1_200
"""About two hundred words: an answer with its context."""
MAX_HEADING_CHARACTERS: Final = 200

_PARAGRAPH_END = re.compile(r"\n[ \t]*\n")
_SENTENCE_END = re.compile(r"[.!?\u0964\u3002][\"')\]]?\s")


@dataclass(frozen=True, slots=True)
class Section:
    """Text under one heading, or of one page. `headings` are those above it, the outermost first."""

    text: str
    headings: tuple[str, ...] = ()
    page: int | None = None

    @property
    def heading(self) -> str:
        """The path of headings, cut at its beginning if it is too long."""
        path = " > ".join(self.headings)
        return path if len(path) <= MAX_HEADING_CHARACTERS else f"...{path[-MAX_HEADING_CHARACTERS + 3 :]}"


def passages_of(section: Section) -> Iterator[str]:
    """The passages of a section: as many whole paragraphs as fit, and parts of those that are longer."""
    passage = ""
    for part in _parts(section.text):
        if passage and len(passage) + len(part) + 2 > MAX_PASSAGE_CHARACTERS:
            yield passage
            passage = ""
        passage = f"{passage}\n\n{part}" if passage else part
    if passage:
        yield passage


def _parts(text: str) -> Iterator[str]:
    for paragraph in _PARAGRAPH_END.split(text):
        rest = paragraph.strip()
        while len(rest) > MAX_PASSAGE_CHARACTERS:
            end = _end_of_part(rest[: MAX_PASSAGE_CHARACTERS + 1])
            yield rest[:end].rstrip()
            rest = rest[end:].lstrip()
        if rest:
            yield rest


def _end_of_part(text: str) -> int:
    """The place to divide a text that is too long: after a sentence, a line or a word in its second half."""
    half = MAX_PASSAGE_CHARACTERS // 2
    ends = (
        max((found.end() for found in _SENTENCE_END.finditer(text, half)), default=0),
        text.rfind("\n", half),
        text.rfind(" ", half),
    )
    return next((end for end in ends if half < end <= MAX_PASSAGE_CHARACTERS), MAX_PASSAGE_CHARACTERS)


def without_blank(sections: Iterable[Section]) -> Iterator[Section]:
    """The sections that have text."""
    return (section for section in sections if section.text.strip())
