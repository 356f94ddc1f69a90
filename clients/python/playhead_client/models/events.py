"""Data of the events of a stream."""

from datetime import datetime

from playhead_client.models.response_model import ResponseModel
from playhead_client.models.sessions import Turn, UserMessage


class TurnStarted(ResponseModel):
    """A turn has begun. `user_message` is null for one that the agent opens by itself."""

    turn_id: str
    created_at: datetime
    parent_id: str | None
    index: int
    user_message: UserMessage | None
    revision: int | None = None


class ReplyDelta(ResponseModel):
    """The next piece of the reply. All deltas of a turn together are its `assistant_message.text`."""

    turn_id: str
    text: str


class ReplyReset(ResponseModel):
    """The whole text of the reply so far; it replaces everything received before.

    Sent when a model call is repeated after a part of its reply was sent, and to a client that joins in the middle.
    """

    turn_id: str
    text: str


class TurnClosed(ResponseModel):
    """A turn is over: completed, failed or interrupted, according to its `status`."""

    turn_id: str
    created_at: datetime
    turn: Turn
    revision: int | None = None


class Happened(ResponseModel, extra="allow"):
    """Any other event; its further members are in `model_extra`, named as in docs/events.md."""

    turn_id: str | None = None
    created_at: datetime
