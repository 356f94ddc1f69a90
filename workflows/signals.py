"""Reading what came in a signal, which may have been typed by hand in the Temporal UI.

The SDK drops a signal whose argument it cannot decode. So signals take any JSON, and what is not a command
becomes a refusal that is written to the timeline.
"""

from typing import Annotated, TypeVar

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from domain.commands import EndSession, Rewind, SendMessage
from domain.refusals import Refused

SignalledMessage = Annotated[SendMessage | JsonValue, Field(union_mode="left_to_right")]
SignalledRewind = Annotated[Rewind | JsonValue, Field(union_mode="left_to_right")]
SignalledEnd = Annotated[EndSession | JsonValue, Field(union_mode="left_to_right")]

Command = TypeVar("Command", SendMessage, Rewind, EndSession)


def read_message(written: SendMessage | JsonValue) -> SendMessage:
    """A message, as a command or as plain text; it queues behind a busy agent unless it says otherwise."""
    command = _read(SendMessage, {"text": written} if isinstance(written, str) else written)
    return command.model_copy(update={"on_busy": command.on_busy or "enqueue"})


def read_rewind(written: Rewind | JsonValue) -> Rewind:
    """A rewind, as a command or as the bare id of the turn to go back to."""
    return _read(Rewind, {"turn_id": written} if isinstance(written, str) else written)


def read_end(written: EndSession | JsonValue) -> EndSession:
    """An end, as a command or as nothing at all."""
    return _read(EndSession, {} if written is None else written)


def message_id_of(written: object) -> str | None:
    """The message id of a signalled message, if it has one."""
    if isinstance(written, SendMessage):
        return written.message_id
    found = written.get("message_id") if isinstance(written, dict) else None
    return found if isinstance(found, str) else None


def _read(form: type[Command], written: object) -> Command:
    try:
        return TypeAdapter(form).validate_python(written)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'argument'}: {fault['msg']}" for fault in error.errors())
        raise Refused("validation_error", f"The signal's argument is not a command: {'; '.join(faults)}") from None
