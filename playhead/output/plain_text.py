"""Cleaning of all text for terminals: nothing that users or models write can control the terminal."""

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

_WITHOUT_DIRECTIONS = dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""Unicode characters that set, override or isolate the writing direction."""
_PRINTED_AS = {**_WITHOUT_DIRECTIONS, 0x2028: " ", 0x2029: " "}
"""Also line and paragraph separators, which some terminals take for line breaks."""
_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON need not escape, and that control a terminal or cannot be printed."""


def printable(text: str) -> str:
    """The text without characters that move the cursor, recolour the terminal or change the writing direction."""
    if text.isascii() and text.isprintable():
        return text
    kept = text.replace("\r\n", "\n").replace("\t", "    ").translate(_PRINTED_AS)
    return "".join(map(_printed, kept))


def one_line(text: str) -> str:
    """The text on one line: line breaks and other characters that are not printed are written as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def unbroken(text: str) -> str:
    """The text with one space for each line break and run of white space, for names and reasons within a line."""
    return " ".join(text.split())


def plain_json(document: str) -> str:
    """A JSON document with the same values and without characters that control a terminal: they are escaped."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


class PlainStream:
    """A text stream that lets only printable text through to another stream."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the printable text of `text`."""
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the printable text of each line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


def make_output_plain() -> None:
    """Let only printable text through to standard output and standard error, for the rest of the process."""
    sys.stdout, sys.stderr = _plain(sys.stdout), _plain(sys.stderr)


@contextmanager
def plain_output() -> Iterator[None]:
    """Let only printable text through to standard output and standard error while the block runs."""
    before = sys.stdout, sys.stderr
    make_output_plain()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def terminal_stream(stream: TextIO) -> TextIO:
    """The stream itself, for libraries that write colours and cursor movements of their own.

    Texts must be made `printable` before they are given to such a library.
    """
    return stream.stream if isinstance(stream, PlainStream) else stream


def _plain(stream: TextIO) -> TextIO:
    return stream if isinstance(stream, PlainStream) else cast("TextIO", PlainStream(stream))


def _printed(character: str) -> str:
    if character == "\n":
        return character
    match unicodedata.category(character):
        case "Cc":
            return ""
        case "Cs":
            return "\ufffd"
    return character


def _escaped(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) in ("Cf", "Co", "Cn", "Zs"):
        return character if ord(character) not in _WITHOUT_DIRECTIONS else f"\\u{ord(character):04x}"
    return character.encode("unicode_escape").decode("ascii")
