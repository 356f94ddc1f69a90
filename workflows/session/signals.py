"""Parses the arguments of signals, which may have been typed by hand in the Temporal UI.

In the SDK, a signal with too few or too many arguments stops its workflow. So signals accept any number of arguments
of any type, as plain JSON from the payload converter; arguments that are not a command become a recorded rejection.
"""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from contracts.sessions import UnreadableArgument
from domain.rejections import CommandRejected
from domain.sessions.caller_config import SetSimulator
from domain.sessions.commands import EndSession, Rewind, SendMessage

Written = tuple[object, ...]
"""The arguments of a signal as they came: commands arrive as plain JSON."""

Command = TypeVar("Command", SendMessage, Rewind, EndSession, SetSimulator)


def read_message(written: Written) -> SendMessage:
    """A message, as a command or as plain text; it queues behind a busy agent unless it says otherwise."""
    argument = _only(written)
    command = _read(SendMessage, {"text": argument} if isinstance(argument, str) else argument)
    return command.model_copy(update={"on_busy": command.on_busy or "enqueue"})


def read_rewind(written: Written) -> Rewind:
    """A rewind, as a command or as the bare id of the turn to go back to."""
    argument = _only(written)
    return _read(Rewind, {"turn_id": argument} if isinstance(argument, str) else argument)


def read_end(written: Written) -> EndSession:
    """An end, as a command or as nothing at all."""
    argument = _only(written) if written else None
    return _read(EndSession, {} if argument is None else argument)


def read_switch(written: Written) -> SetSimulator:
    """A switch of the simulated user, as a command or as a bare true or false."""
    argument = _only(written)
    return _read(SetSimulator, {"enabled": argument} if isinstance(argument, bool) else argument)


def message_id_of(written: Written) -> str | None:
    """The message id of a signalled message, if it has one."""
    argument = written[0] if written else None
    found = argument.get("message_id") if isinstance(argument, Mapping) else None
    return found if isinstance(found, str) else None


def _only(written: Written) -> object:
    if len(written) != 1:
        raise CommandRejected(
            "validation_error", f"The signal takes one argument; it came with {len(written) or 'none'}."
        )
    argument = written[0]
    if isinstance(argument, UnreadableArgument):
        raise CommandRejected("validation_error", f"The signal's argument cannot be read: {argument.reason}.")
    return argument


def _read(form: type[Command], argument: object) -> Command:
    try:
        return TypeAdapter(form).validate_python(argument)
    except ValidationError as error:
        issues = (f"{'.'.join(map(str, issue['loc'])) or 'argument'}: {issue['msg']}" for issue in error.errors())
        raise CommandRejected(
            "validation_error", f"The signal's argument is not a command: {'; '.join(issues)}"
        ) from None
