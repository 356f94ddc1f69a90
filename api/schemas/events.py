"""Data of each event of a stream."""

from datetime import datetime
from typing import Self

from pydantic import JsonValue

from api.schemas.responses import ClientCall, Representation, Turn
from domain.turns.turn import UserMessage
from domain.usage import Usage


class TurnStarted(Representation):
    """The start of a turn. `user_message` is null for the greeting."""

    turn_id: str
    created_at: datetime
    parent_id: str | None
    index: int
    user_message: UserMessage | None
    revision: int | None = None


class ReplyDelta(Representation):
    """Text added to the reply. All deltas of a turn, concatenated, are its `assistant_message.text`."""

    turn_id: str
    text: str


class ReplyReset(Representation):
    """The whole text of the reply so far, which replaces the text that was sent before; deltas continue from it.

    Sent when a model call is retried after part of its reply was streamed, and to a client that joins in the middle.
    """

    turn_id: str
    text: str


class TurnClosed(Representation):
    """The end of a turn: completed, failed or interrupted, as its `status` says."""

    turn_id: str
    created_at: datetime
    turn: Turn
    revision: int | None = None


class Happened(Representation, extra="allow"):
    """Any other event. Its other members are those of the event in a turn's `events`, or describe the session."""

    turn_id: str | None
    created_at: datetime

    @classmethod
    def of(cls, turn_id: str | None, created_at: datetime, payload: dict[str, JsonValue]) -> Self:
        """The event with the members of its payload beside the two that every event has."""
        return cls.model_validate({**payload, "turn_id": turn_id, "created_at": created_at})


class HandedOver(Representation):
    """The end of a stream whose turn waits for its client: the calls of client tools, and the usage of the turn so far.

    Sent only in protocols whose clients carry out tools between two requests.
    """

    turn_id: str
    calls: list[ClientCall]
    used: Usage


EventData = TurnStarted | ReplyDelta | ReplyReset | TurnClosed | HandedOver | Happened
