"""How a command ends when it does not succeed: the exit statuses, and the one exception that carries them."""

from typing import Final

FINDING: Final = 1
"""The command did its work and has something to object: an agent with faults, a refused change."""
USAGE: Final = 2
"""The command cannot be carried out as it was given, or as things are set up."""
UNREACHABLE: Final = 3
"""A service that is needed cannot be reached, or cannot be started."""
INTERRUPTED: Final = 130
"""Ended by Ctrl-C where nobody can be asked what was meant; shells use the same."""


class CommandFailed(Exception):
    """Ends a command with one message for people and an exit status. `hint` says what to do about it."""

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint
