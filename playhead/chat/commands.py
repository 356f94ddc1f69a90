"""Lines typed into the chat: messages and slash commands."""

import difflib
from dataclasses import dataclass
from typing import Literal

View = Literal["branches", "timeline", "usage", "node", "help"]

HELP: dict[str, str] = {
    "/rewind [N | before N | clear]": "go back to turn N or before it; `clear` undoes",
    "/timeline": "the turns so far, with their numbers",
    "/branches": "the branches discarded by rewinding",
    "/usage": "tokens and cost, model by model",
    "/node": "where in the agent's graph the conversation is",
    "/end [REASON]": "end the session for good, and show the bill",
    "/help": "this list",
    "/quit": "leave; the session stays alive (also: Ctrl-D)",
}
"""Every command as it is typed, and what it does."""
NAMES: tuple[str, ...] = tuple(usage.split()[0] for usage in HELP)

_VIEWS: dict[str, View] = {
    "/branches": "branches",
    "/timeline": "timeline",
    "/usage": "usage",
    "/node": "node",
    "/help": "help",
}


@dataclass(frozen=True)
class Send:
    """Send a message to the agent."""

    text: str


@dataclass(frozen=True)
class Show:
    """Show a view of the session, without changing it."""

    view: View


@dataclass(frozen=True)
class RewindTo:
    """Rewind to the turn with this number, or to `before` it; `None` clears the cursor."""

    number: int | None
    before: bool = False


@dataclass(frozen=True)
class ChooseRewind:
    """List the turns and ask for the one to rewind to."""


@dataclass(frozen=True)
class End:
    """End the session, by default with the API's own reason."""

    reason: str | None = None


@dataclass(frozen=True)
class Quit:
    """Leave the chat; the session stays alive."""


@dataclass(frozen=True)
class EmptyLine:
    """An empty line."""


@dataclass(frozen=True)
class InvalidCommand:
    """An unknown command or one with invalid arguments; `message` says what to type instead."""

    message: str


ChatCommand = Send | Show | RewindTo | ChooseRewind | End | Quit | EmptyLine | InvalidCommand


def parse_line(line: str) -> ChatCommand:
    """Parse a line. A message that begins with a slash is typed with two: `//like this`."""
    text = line.strip()
    if not text:
        return EmptyLine()
    if text.startswith("//"):
        return Send(text[1:])
    if not text.startswith("/"):
        return Send(text)
    name, _, rest = text.partition(" ")
    return _read_command(name.lower().rstrip("?"), rest.strip())


def parse_rewind(argument: str) -> ChatCommand:
    """Parse the argument of `/rewind`: a number, `before` a number, `clear`, or nothing to choose from a list."""
    words = argument.lower().replace("#", " ").split()
    match words:
        case []:
            return ChooseRewind()
        case ["clear"]:
            return RewindTo(None)
        case [number] if _is_number(number):
            return RewindTo(int(number))
        case ["before", number] if _is_number(number):
            return RewindTo(int(number), before=True)
    return InvalidCommand(
        f"/rewind has an invalid argument '{argument}'. Type /rewind 2, /rewind before 2 or /rewind clear; "
        "/timeline shows the numbers."
    )


def _read_command(name: str, rest: str) -> ChatCommand:
    if name in ("/quit", "/exit"):
        return Quit()
    if name == "/end":
        return End(rest or None)
    if name == "/rewind":
        return parse_rewind(rest)
    if name in _VIEWS:
        return Show(_VIEWS[name])
    near = difflib.get_close_matches(name, NAMES, n=1)
    meant = f"Did you mean {near[0]}?" if near else "/help lists the commands."
    return InvalidCommand(
        f"There is no command {name}. {meant} To send a message that begins with a slash, type two: /{name}"
    )


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 6
