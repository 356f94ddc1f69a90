"""Parsing of typed lines."""

import pytest

from playhead.chat.commands import (
    HELP,
    ChatCommand,
    ChooseRewind,
    EmptyLine,
    End,
    InvalidCommand,
    Quit,
    RewindTo,
    Send,
    Show,
    parse_line,
)


@pytest.mark.parametrize(
    ("typed", "meaning"),
    [
        ("A table for two, please.\n", Send("A table for two, please.")),
        ("first\nsecond", Send("first\nsecond")),
        ("//slashes are words too", Send("/slashes are words too")),
        ("", EmptyLine()),
        ("  \n", EmptyLine()),
        ("/rewind", ChooseRewind()),
        ("/rewind 3", RewindTo(3)),
        ("/rewind #3", RewindTo(3)),
        ("/REWIND before 2", RewindTo(2, before=True)),
        ("/rewind clear", RewindTo(None)),
        ("/branches", Show("branches")),
        ("/timeline", Show("timeline")),
        ("/usage", Show("usage")),
        ("/node", Show("node")),
        ("/node?", Show("node")),
        ("/help", Show("help")),
        ("/end", End()),
        ("/end had enough of it", End("had enough of it")),
        ("/quit", Quit()),
        ("/exit", Quit()),
    ],
)
def test_line_is_understood(typed: str, meaning: ChatCommand) -> None:
    assert parse_line(typed) == meaning


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ("/rewnd", "Did you mean /rewind?"),
        ("/zzz", "/help lists the commands"),
        ("/rewind two", "/rewind 2"),
        ("/rewind -1", "/timeline shows the numbers"),
        ("/rewind before", "/rewind before 2"),
        ("/rewind ²", "/rewind 2"),
        ("/path/to/file", "type two: //path/to/file"),
    ],
)
def test_invalid_command_says_what_to_type_instead(typed: str, remedy: str) -> None:
    meaning = parse_line(typed)
    assert isinstance(meaning, InvalidCommand)
    assert remedy in meaning.message


@pytest.mark.parametrize("usage", HELP)
def test_every_command_in_the_help_exists(usage: str) -> None:
    assert not isinstance(parse_line(usage.split(maxsplit=1)[0]), InvalidCommand)
