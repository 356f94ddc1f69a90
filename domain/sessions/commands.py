"""What a person or a program can tell a session to do."""

from typing import Literal

from domain.durable import FrozenModel

OnBusy = Literal["reject", "enqueue", "interrupt", "rollback"]
"""What a message does to a busy agent.

It is refused; it waits its turn; it stops the reply, whose beginning stays, and is answered next; or it stops the
reply and takes the place of its turn, which is kept as a discarded branch.
"""


class SendMessage(FrozenModel):
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


class Rewind(FrozenModel):
    """Point the cursor at a turn, or `before` it; `turn_id=None` clears the cursor."""

    turn_id: str | None
    before: bool = False
    expected_revision: int | None = None


class EditMessage(FrozenModel):
    """Say something else in a turn: its message, and all that came after it, gives way to the new text.

    The rest is as with `SendMessage`.
    """

    turn_id: str
    text: str
    message_id: str | None = None
    expected_revision: int | None = None
    wait: bool = True


class Regenerate(FrozenModel):
    """Answer a turn again, from the same message; the old answer, and all that came after it, gives way.

    The rest is as with `SendMessage`.
    """

    turn_id: str
    message_id: str | None = None
    expected_revision: int | None = None
    wait: bool = True


TurnCommand = SendMessage | EditMessage | Regenerate
"""The commands that open a turn. With a message id a repeat of one is recognised."""


class CancelTurn(FrozenModel):
    """Stop the reply that is pending; what was said of it stays."""

    expected_revision: int | None = None


class RestoreBranch(FrozenModel):
    """Go back to a branch that was given up; the present one is given up for it."""

    branch_id: str
    expected_revision: int | None = None


class DecideApproval(FrozenModel):
    """Let a tool call that waits for a person be made, or not. `reason` is told to the model when it is denied."""

    call_id: str
    reason: str = ""
    expected_revision: int | None = None


class EndSession(FrozenModel):
    """End the session. `reason` is kept as its completion reason."""

    reason: str = "user_hangup"
    expected_revision: int | None = None
