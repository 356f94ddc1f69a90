"""What a person or a program can tell a session to do."""

from typing import Literal

from domain.durable import Durable

OnBusy = Literal["reject", "enqueue"]


class SendMessage(Durable):
    """Say something to the agent.

    `message_id` makes a repeat recognisable; without one every call is a new message. `on_busy` decides what
    happens while a reply is pending: by default an update is refused and a signal is queued. An update waits
    for the reply, or with `wait=False` only until the message is accepted.
    """

    text: str
    message_id: str | None = None
    expected_revision: int | None = None
    on_busy: OnBusy | None = None
    wait: bool = True


class Rewind(Durable):
    """Point the cursor at a turn, or `before` it; `turn_id=None` clears the cursor."""

    turn_id: str | None
    before: bool = False
    expected_revision: int | None = None


class Decide(Durable):
    """Let a tool call that waits for a person be made, or not. `reason` is told to the model when it is denied."""

    call_id: str
    reason: str = ""
    expected_revision: int | None = None


class EndSession(Durable):
    """End the session. `reason` is kept as its completion reason."""

    reason: str = "user_hangup"
    expected_revision: int | None = None
