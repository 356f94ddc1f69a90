"""Recovery: comparing a session with its record in the store, and putting back what either of them has lost."""

from contracts.sessions import AgentRef, GenerateStepInput
from domain.durable import FrozenModel
from domain.sessions.recovery import SessionRecord
from domain.turns.engine import ModelReply
from domain.turns.turn import Message, Turn


class ClaimSessionInput(FrozenModel):
    """The execution that begins a session, to check that it may."""

    session_id: str
    organization_id: str
    first_run_id: str


class ClaimSessionResult(FrozenModel):
    """The reason why the execution may not begin the session, as a sentence; None if it may."""

    rejection: str | None = None


class ReadRecordInput(FrozenModel):
    """Asks for the store's record of a session. `known_turn_ids` are the closed turns that the session knows of."""

    session_id: str
    organization_id: str
    known_turn_ids: tuple[str, ...] = ()


class ReadRecordResult(FrozenModel):
    """The record as it stands."""

    record: SessionRecord


class RestoredTurn(FrozenModel):
    """A closed turn, with the state of the conversation before it.

    `after` and `carry` are those of the checkpoint that the turn began from.
    """

    turn: Turn
    after: str
    carry: tuple[Message, ...] = ()


class RestoredStep(FrozenModel):
    """A model call of a turn that is still being answered, with its reply."""

    call: GenerateStepInput
    reply: ModelReply


class RestoreTurnsInput(FrozenModel):
    """Turns and steps that the store may have lost. What it still has stays as it is.

    Turns in `taken_over` are imported or came with a fork: they are not billed here.
    """

    session_id: str
    organization_id: str
    agent: AgentRef
    model: str
    turns: tuple[RestoredTurn, ...] = ()
    steps: tuple[RestoredStep, ...] = ()
    taken_over: tuple[str, ...] = ()


class RestoreTurnsResult(FrozenModel):
    """The number of steps that were put back."""

    restored: int
