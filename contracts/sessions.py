"""Every durable input and result that crosses a Temporal boundary, and the ids under which they are found.

Each of these is in running sessions' histories: give new fields defaults, never change or reuse one.
"""

from datetime import datetime

from pydantic import JsonValue

from contracts.webhooks import WebhookTarget
from domain.agents.definition import AgentDefinition
from domain.agents.tool_mocks import ToolMock
from domain.durable import FrozenModel
from domain.sessions.caller_config import SimulatorConfig
from domain.sessions.command_handlers import command_digest
from domain.sessions.commands import TurnCommand
from domain.sessions.timeline import AuxiliaryCall, DiscardedBranch, SessionFact, Timeline
from domain.sessions.views import SessionHead
from domain.turns.engine import ModelReply
from domain.turns.turn import Message, Turn
from domain.usage import Money

TASK_QUEUE = "playhead"
"""The task queue of workflows and activities unless a setting names another."""


CONTINUED_AS_NEW = "session_moved_on"
"""The type of the error with which an update ends whose run was continued as new before its answer was there.

Nothing is lost: sent again with the same message id it joins its turn in the new run.
"""


class AgentRef(FrozenModel):
    """One version of an agent."""

    id: str
    version: int


class Timing(FrozenModel):
    """How long things may take in one session, in seconds. Pinned at its start, so that replays agree.

    `heartbeat` is how long a silent worker counts as alive while it generates a reply: shorter recovers
    sooner from its death, longer is safer against buying a reply twice on an overloaded machine. `settle_within`
    is how long a finished turn may wait for others to be settled with it; `settle_unattended_within` the same while a
    simulated caller talks and nobody watches. Sessions from before that was known have none and make no difference.
    """

    model_timeout: float = 120.0
    heartbeat: float = 10.0
    retry_initial: float = 1.0
    retry_maximum: float = 30.0
    settle_within: float = 1.8
    settle_unattended_within: float | None = None


class StartSession(FrozenModel):
    """Everything a session is made of. `timeline` is what an earlier run of it carries over.

    `price_per_second` is the organization's when the session opened, in US dollars for a second of a model's work.
    `suite_id` is set for the sessions that a suite has started. `simulator` is the caller that it begins with, `mocks`
    answer in the place of tools. `settles_again` says that a run may end while something is being settled, which the
    next run then settles again; sessions from before that was known do not. `reads_after_the_end` says that the
    variables of an end node are read when its goodbye has been said, and that the end is told last of all; sessions
    from before that was known read them first, and tell the end at once.
    """

    session_id: str
    organization_id: str
    agent: AgentRef
    definition: AgentDefinition
    model: str
    name: str
    initial_context: dict[str, JsonValue] = {}
    timing: Timing = Timing()
    price_per_second: Money | None = None
    webhook: WebhookTarget | None = None
    timeline: Timeline | None = None
    suite_id: str | None = None
    simulator: SimulatorConfig | None = None
    mocks: tuple[ToolMock, ...] = ()
    settles_again: bool = False
    reads_after_the_end: bool = False


class SessionResult(FrozenModel):
    """What a finished session leaves in Temporal: why it ended and what it was. The store has the rest."""

    completion_reason: str
    revision: int
    turns: int


class SendMessageResult(FrozenModel):
    """The turn that a message, an edit or a regeneration opened, and the session's head after it.

    The message's own text is left out: the caller has it. `previous_version` is the head's version just before the
    message was accepted: who holds that state can extend it with the turn instead of asking for everything again.
    """

    turn: Turn
    head: SessionHead
    previous_version: int


class TurnStart(FrozenModel):
    """How a turn began, for those who watch: all of it but the user's words, which are among a step's messages."""

    parent_id: str | None
    index: int
    created_at: datetime
    said_at: datetime | None = None
    """When the user's message came; none for a turn without one."""
    message_id: str | None = None


class GenerateStepInput(FrozenModel):
    """One model call. `messages` are only those that no earlier step has saved: it does not grow with the session.

    The rest is read from the store along the chain of `anchor_turn_id`s. `context` are the values templates see.
    `opening` and `said`, the agent's text in this turn so far, are for those who watch.
    """

    session_id: str
    organization_id: str
    turn_id: str
    step: int
    anchor_turn_id: str | None
    agent: AgentRef
    model: str
    node_id: str
    messages: tuple[Message, ...] = ()
    context: dict[str, JsonValue] = {}
    timeout: float = 120.0
    price_per_second: Money | None = None
    opening: TurnStart | None = None
    said: str = ""


class GenerateStepResult(FrozenModel):
    """What the model answered. `reused` says that the step had been bought before and was only looked up.

    `watched` says that somebody watches the session: what happens in it is recorded without waiting for more.
    """

    reply: ModelReply
    reused: bool = False
    watched: bool = False


class StepHeartbeat(FrozenModel):
    """What a model call leaves behind for its next attempt: how often the provider has failed it so far."""

    provider_failures: int = 0


class SettleTurnsInput(FrozenModel):
    """Turns to bill and record, with the session's head and what else happened since it was last settled.

    Branches that were restored go before those that were given up: a branch can be both. Turns that were taken over
    with a fork are recorded and not billed: the session that they were spoken in has done that.
    """

    session_id: str
    organization_id: str
    agent: AgentRef
    head: SessionHead
    turns: tuple[Turn, ...] = ()
    branches: tuple[DiscardedBranch, ...] = ()
    facts: tuple[SessionFact, ...] = ()
    restored_branch_ids: tuple[str, ...] = ()
    asides: tuple[AuxiliaryCall, ...] = ()
    taken_over: tuple[str, ...] = ()


class SettleTurnsResult(FrozenModel):
    """How many ledger rows were new: turns that had been billed before count nothing."""

    billed: int


def session_workflow_id(session_id: str) -> str:
    """The workflow that is this session."""
    return f"session-{session_id}"


def message_update_id(command: TurnCommand) -> str:
    """The update id of a message: the client's message id, told apart by what is asked and what is waited for.

    Temporal answers a repeated update id with the first result and asks nobody. So a repeat of the same
    message joins the first call, while the same id with another text reaches the validator and is refused.

    Raises ValueError for a message without an id: every "yes" of a session would count as a repeat of the first.
    """
    if command.message_id is None:
        raise ValueError("a message needs a message_id before it is sent as an update: make one up for it")
    return f"{command.message_id}~{command_digest(command)}{'' if command.wait else '~accepted'}"
