"""Commands of a session."""

from typing import Literal

from domain.durable import FrozenModel
from domain.turns.turn import ReplyOptions

OnBusy = Literal["reject", "enqueue", "interrupt", "rollback"]
"""Effect of a message on a busy agent.

`reject`: the message is rejected. `enqueue`: it waits in the queue. `interrupt`: it stops the reply, whose text so far
is kept, and is answered next. `rollback`: it stops the reply and replaces its turn, which becomes a discarded branch.
"""


class ClientResult(FrozenModel):
    """The result of a call of a client tool; `is_error` marks one that failed."""

    call_id: str
    content: str
    is_error: bool = False


class SendMessage(FrozenModel):
    """Send a message to the agent.

    `message_id` identifies repeats; without one every call is a new message. `on_busy` applies while a reply is
    pending: by default an update is rejected and a signal is queued. An update waits for the reply, or with
    `wait=False` only until the message is accepted; with `hands_over` it also returns when the turn waits for its
    client to carry out tools. `after_turn_id` is the turn that the message follows, on any branch (None: the newest
    visible one). After another turn than the newest visible one it grows a branch there. `results` are those of calls
    that waited for the client before the message; results of calls that wait no longer are ignored.
    """

    text: str
    message_id: str | None = None
    expected_revision: int | None = None
    on_busy: OnBusy | None = None
    wait: bool = True
    after_turn_id: str | None = None
    options: ReplyOptions | None = None
    hands_over: bool = False
    results: tuple[ClientResult, ...] = ()


class Rewind(FrozenModel):
    """Point the cursor at a turn, or `before` it; `turn_id=None` clears the cursor."""

    turn_id: str | None
    before: bool = False
    expected_revision: int | None = None


class EditMessage(FrozenModel):
    """Replace the message of a turn: the turn and everything after it are discarded.

    The other fields are those of `SendMessage`.
    """

    turn_id: str
    text: str
    message_id: str | None = None
    expected_revision: int | None = None
    wait: bool = True
    options: ReplyOptions | None = None
    hands_over: bool = False


class Regenerate(FrozenModel):
    """Answer the same message again: the turn and everything after it are discarded.

    Without `options` those of the turn apply again. The other fields are those of `SendMessage`.
    """

    turn_id: str
    message_id: str | None = None
    expected_revision: int | None = None
    wait: bool = True
    options: ReplyOptions | None = None
    hands_over: bool = False


TurnCommand = SendMessage | EditMessage | Regenerate
"""The commands that open a turn. With a message id, repeats are recognised."""


class CancelTurn(FrozenModel):
    """Stop the pending reply; its text so far is kept. With a `message_id` only the reply to that message."""

    expected_revision: int | None = None
    message_id: str | None = None


class RestoreBranch(FrozenModel):
    """Make a discarded branch the active one; the present one is discarded."""

    branch_id: str
    expected_revision: int | None = None


class DecideApproval(FrozenModel):
    """Approve or deny a waiting tool call. If it is denied, the model receives the `reason`."""

    call_id: str
    reason: str = ""
    expected_revision: int | None = None


class ReturnResults(FrozenModel):
    """Return the results of calls of client tools, all of one turn.

    With `wait` the update returns when the turn is closed, or waits for its client again; otherwise at once.
    """

    results: tuple[ClientResult, ...]
    expected_revision: int | None = None
    wait: bool = False


class EndSession(FrozenModel):
    """End the session. `reason` becomes its completion reason."""

    reason: str = "user_hangup"
    expected_revision: int | None = None
