"""Exit statuses of commands that do not succeed, and the exception that carries them."""

from typing import Final

FINDING: Final = 1
"""The command ran and found a problem: an invalid agent, a rejected command, a suite that did not pass."""
USAGE: Final = 2
"""Wrong arguments or settings."""
UNREACHABLE: Final = 3
"""A required service cannot be reached or started."""
INTERRUPTED: Final = 130
"""Ended by Ctrl-C, with the status that shells use."""


class CommandFailed(Exception):
    """Ends a command with a message and an exit status. `hint` is the remedy."""

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint
