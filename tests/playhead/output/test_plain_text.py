"""Texts of users and models on the operator's terminal: nothing they write controls it, and JSON keeps its values."""

import json
import re
import sys
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.output.console import PlainConsole
from playhead.output.plain_text import one_line, plain_json, plain_output, printable

PACKAGE = Path(__file__).parents[3] / "playhead"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that control a terminal."""
HOSTILE = "ok\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\u2028\u202egnp\x1bP\x90q\x7f"
"""Sets the title, clears the screen, recolours, overwrites the line, reverses the direction, begins a device string."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\r\nlines", "two\nlines"),
        ("a\ttab", "a    tab"),
        ("\x1b[31mred\x9b0m", "[31mred0m"),
        ("bell\x07 back\x08", "bell back"),
        ("\u202egnp.exe\u2066", "gnp.exe"),
        ("half \ud83d", "half \ufffd"),
        ("one\u2028two\u2029three", "one two three"),
        ("👩‍🍳 à la carte", "👩‍🍳 à la carte"),
    ],
)
def test_text_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_no_text_at_all_steers_the_terminal(text: str) -> None:
    assert not STEERING.search(printable(text))
    assert not re.search(r"[\n\u2028\u2029]", one_line(text))
    assert not STEERING.search(one_line(text))
    printable(text).encode()


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_json_keeps_its_values(value: dict[str, str]) -> None:
    document = plain_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(document) == value
    assert not STEERING.search(document)


def test_a_console_colours_its_own_texts_only(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_output():
        console = PlainConsole(force_terminal=True, color_system="standard", highlight=False)
        console.print(f"[red]{HOSTILE}[/]")
    written = capsys.readouterr().out
    assert written.startswith("\x1b[31m")
    assert not STEERING.search(written.replace("\x1b[31m", "").replace("\x1b[0m", ""))


def test_output_is_plain_only_while_a_command_runs() -> None:
    before = sys.stdout, sys.stderr
    out = StringIO()
    sys.stdout = out
    try:
        with plain_output(), plain_output():
            sys.stdout.write(HOSTILE)
            print(HOSTILE)
            sys.stdout.writelines([HOSTILE])
        assert sys.stdout is out
    finally:
        sys.stdout = before[0]
    assert sys.stderr is before[1]
    assert not STEERING.search(out.getvalue())


def test_no_other_console_is_made() -> None:
    found = [
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if re.search(r"(?<!Plain)Console\(", file.read_text()) and file.name != "console.py"
    ]
    assert found == []
