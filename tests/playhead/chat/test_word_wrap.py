"""Word wrap of streamed text: whole words and bounded lines, for any pieces."""

import pytest

from playhead.chat.word_wrap import WordWrap


def wrapped(*pieces: str, width: int = 12) -> str:
    """The final text on the terminal."""
    written: list[str] = []
    wrap = WordWrap(written.append, width=width, indent=2)
    for piece in pieces:
        wrap.write(piece)
    wrap.end()
    return "".join(written)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_words_are_never_broken_and_lines_never_too_long(size: int) -> None:
    text = "We have a table for four at seven, and  the terrace."
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert wrapped(*pieces) == "We have a\n  table for\n  four at\n  seven, and\n  the terrace."


def test_a_word_is_written_once_it_is_complete() -> None:
    written: list[str] = []
    wrap = WordWrap(written.append, width=40, indent=2)
    wrap.write("Good eve")
    assert "".join(written) == "Good"
    wrap.write("ning. ")
    assert "".join(written) == "Good evening."


def test_lines_of_the_reply_stay_lines() -> None:
    assert wrapped("One\nTwo\n\nThree") == "One\n  Two\n  \n  Three"


def test_a_word_longer_than_a_line_is_split() -> None:
    assert wrapped("https://example.org/a/long/path end") == "https://exam\n  ple.org/a/lo\n  ng/path end"


def test_wide_characters_take_two_columns() -> None:
    assert wrapped("你好 你好 你好 你好", width=10) == "你好 你好\n  你好 你好"
