"""What the data of each event of a stream looks like."""

from datetime import datetime

from pydantic import JsonValue

from api.schemas.responses import Representation, Turn
from domain.turns.turn import UserMessage


class TurnStarted(Representation):
    """A turn has begun. `user_message` is null for one that the agent opens by itself."""

    turn_id: str
    created_at: datetime
    parent_id: str | None
    index: int
    user_message: UserMessage | None


class ReplyDelta(Representation):
    """The agent has said more. All deltas of a turn, put together, are its `assistant_message.text`."""

    turn_id: str
    text: str


class ReplyReset(Representation):
    """What the agent has said so far in this turn is exactly `text`, whatever was told before: take it up from there.

    Sent when a model call is made again after a part of its reply was told, and to a client that joins in the middle.
    """

    turn_id: str
    text: str


class TurnClosed(Representation):
    """A turn is over: completed, failed or interrupted, as its `status` says."""

    turn_id: str
    created_at: datetime
    turn: Turn


class Happened(Representation):
    """Anything else. Its other members are those of the same event in a turn's `events`, or tell about the session."""

    turn_id: str | None
    created_at: datetime

    @classmethod
    def data(cls, turn_id: str | None, created_at: datetime, payload: dict[str, JsonValue]) -> str:
        """The event as JSON; what it tells is beside the two members that all have."""
        about = cls(turn_id=turn_id, created_at=created_at).model_dump(mode="json")
        return _Members.model_validate({**payload, **about}).model_dump_json()


class _Members(Representation, extra="allow"):
    pass
