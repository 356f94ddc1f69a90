"""Word wrap of streamed text: whole words and bounded lines, for any pieces."""

import pytest

from playhead.chat.word_wrap import WordWrap


def spoken(*pieces: str, width: int = 12) -> str:
    """The final text on the terminal."""
    written: list[str] = []
    speech = WordWrap(written.append, width=width, indent=2)
    for piece in pieces:
        speech.write(piece)
    speech.end()
    return "".join(written)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_words_are_never_broken_and_lines_never_too_long(size: int) -> None:
    text = "We have a table for four at seven, and  the terrace."
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert spoken(*pieces) == "We have a\n  table for\n  four at\n  seven, and\n  the terrace."


def test_a_word_is_written_once_it_is_complete() -> None:
    written: list[str] = []
    speech = WordWrap(written.append, width=40, indent=2)
    speech.write("Good eve")
    assert "".join(written) == "Good"
    speech.write("ning. ")
    assert "".join(written) == "Good evening."


def test_lines_of_the_reply_stay_lines() -> None:
    assert spoken("One\nTwo\n\nThree") == "One\n  Two\n  \n  Three"


def test_a_word_that_fits_no_line_is_written_all_the_same() -> None:
    assert spoken("https://example.org/a/long/path end") == "https://exam\n  ple.org/a/lo\n  ng/path end"


def test_wide_characters_take_two_columns() -> None:
    assert spoken("你好 你好 你好 你好", width=10) == "你好 你好\n  你好 你好"
