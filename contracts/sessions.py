"""Sessions: inputs and results of the session workflow and its activities, and the ids of workflows and updates.

Running sessions have these in their histories: give new fields defaults, never change or reuse a field.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from contracts.caller import GeneratedLine, NextLine
from contracts.webhooks import WebhookTarget
from domain.agents.definition import AgentDefinition
from domain.agents.tool_mocks import ToolMock
from domain.durable import FrozenModel
from domain.sessions.caller_config import SimulatorConfig
from domain.sessions.client_calls import results_digest
from domain.sessions.command_handlers import command_digest
from domain.sessions.commands import ReturnResults, TurnCommand
from domain.sessions.timeline import AuxiliaryCall, DiscardedBranch, SessionFact, Timeline
from domain.sessions.views import SessionHead
from domain.turns.call_digest import step_digest
from domain.turns.engine import ModelReply
from domain.turns.summaries import SummaryPoint
from domain.turns.turn import Message, ReplyFormat, Turn, UserMessage
from domain.usage import Money, Usage

CONTINUED_AS_NEW = "session_moved_on"
"""Error type of an update whose run continued as new before the update was answered.

Nothing is lost: an update sent again with the same message id waits for the same turn in the new run.
"""

RUN_HAS_ENDED = "The run has just ended. Ask again: the next run of the session answers."
"""Failure message of a query that reaches a run which has just continued as new."""
HISTORY_MISSING = "history_missing"
"""The type of the failure of a step whose earlier messages are not in the store."""
CONTEXT_TOO_LONG = "context_too_long"
"""The type of the failure of a step that is too long for its model even without any earlier turn."""


@dataclass(frozen=True)
class UnreadableArgument:
    """An argument of a signal that cannot be read. `reason` completes a sentence and does not quote the argument."""

    reason: str


class AgentRef(FrozenModel):
    """One version of an agent."""

    id: str
    version: int


class Timing(FrozenModel):
    """Timeouts of one session, in seconds, pinned at its start so that replays are deterministic.

    `heartbeat` is the heartbeat timeout of a model call: a short one recovers sooner from the death of a worker, a long
    one is less likely to pay for a reply twice on an overloaded machine. `settle_within` is the longest time that a
    finished turn waits to be settled together with others; `settle_unattended_within` is the same while a simulated
    user talks and nobody watches (None: no difference).
    """

    model_timeout: float = 120.0
    heartbeat: float = 10.0
    retry_initial: float = 1.0
    retry_maximum: float = 30.0
    settle_within: float = 1.8
    settle_unattended_within: float | None = None


class StartSession(FrozenModel):
    """Input of the session workflow. `timeline` is the state carried over from an earlier run.

    `price_per_second` is the organization's price when the session was created, in US dollars per second of model
    time. `suite_id` is set for sessions started by a suite. `simulator` is the simulated user the session starts with;
    `mocks` replace tools.
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


class SessionResult(FrozenModel):
    """Result of the session workflow, in brief. The store has everything else."""

    completion_reason: str
    revision: int
    turns: int


class SendMessageResult(FrozenModel):
    """The turn opened by a message, an edit or a regeneration, and the session's head after it.

    The text of the message is omitted: the client has it. `previous_version` is the version of the head before the
    message was accepted: a client that has that state can append the turn instead of reading everything again.
    """

    turn: Turn
    head: SessionHead
    previous_version: int


class ReturnResultsResult(FrozenModel):
    """The turn whose calls have received their results, and the session's head after it.

    `said` counts the characters of the reply before those calls, and `used` is the usage of the turn up to them.
    """

    turn: Turn
    head: SessionHead
    said: int = 0
    used: Usage = Usage()


class TurnStart(FrozenModel):
    """The start of a turn, for watchers, without the user's text, which is among the messages of the step."""

    parent_id: str | None
    index: int
    created_at: datetime
    said_at: datetime | None = None
    """Time of the user's message if it was queued or has no id; None if it is `created_at`, or there is no message."""
    message_id: str | None = None

    def turn(self, turn_id: str, user_text: str | None) -> Turn:
        """The turn as it was opened, with the user's text."""
        said_at = self.said_at or (self.created_at if self.message_id is not None else None)
        message = None
        if said_at is not None and user_text is not None:
            message = UserMessage(text=user_text, created_at=said_at, message_id=self.message_id)
        return Turn(
            id=turn_id, parent_id=self.parent_id, index=self.index, created_at=self.created_at, user_message=message
        )


RecordState = Literal["agrees", "is_ahead", "is_behind", "is_another"]
"""The store's record of a session, compared to what its workflow knows."""


class SettleTurnsInput(FrozenModel):
    """Turns to bill and record, with the session's head and all other changes since the last settlement.

    Restored branches are applied before discarded ones, because a branch can be both. `taken_over` turns are recorded
    but not billed: they are imported, or come from the source of a fork, which has billed them. `first_run_id`
    identifies the workflow execution across continue-as-new and resets: no execution takes over the record of another.
    `follows` are the versions of the head that may have been recorded last, empty for the first settlement; None
    compares no versions.
    """

    session_id: str
    organization_id: str
    agent: AgentRef
    head: SessionHead
    turns: tuple[Turn, ...] = ()
    branches: tuple[DiscardedBranch, ...] = ()
    facts: tuple[SessionFact, ...] = ()
    restored_branch_ids: tuple[str, ...] = ()
    auxiliary_calls: tuple[AuxiliaryCall, ...] = ()
    taken_over: tuple[str, ...] = ()
    first_run_id: str | None = None
    follows: tuple[int, ...] | None = None


class GenerateStepInput(FrozenModel):
    """Input of one model call. `messages` are only those not yet saved by an earlier step, so it stays small.

    The activity reads the rest from the store, along the chain of steps. `context` contains the values of
    template variables. `opening` and `said`, the agent's text in this turn so far, are for watchers.
    `after` is the digest of the preceding step, the newest that the model reads; empty for the first of a session.
    `record` holds what was unsettled when the call was scheduled: it is settled along with the reply, at most once.
    `withheld` are tools of the node that the model is not offered. With `next_line` a simulated user answers the reply.
    `instructions` is a digest of the instructions if they contain a value that can differ when the turn is answered
    again.
    """

    session_id: str
    organization_id: str
    turn_id: str
    step: int
    agent: AgentRef
    model: str
    node_id: str
    after: str
    messages: tuple[Message, ...] = ()
    context: dict[str, JsonValue] = {}
    timeout: float = 120.0
    price_per_second: Money | None = None
    opening: TurnStart | None = None
    said: str = ""
    reply_format: ReplyFormat | None = None
    record: SettleTurnsInput | None = None
    withheld: tuple[str, ...] = ()
    next_line: NextLine | None = None
    instructions: str = ""

    @property
    def digest(self) -> str:
        """The digest of the request: a saved step with another digest is the reply to another request."""
        return step_digest(
            after=self.after,
            turn_id=self.turn_id,
            step=self.step,
            agent_id=self.agent.id,
            agent_version=self.agent.version,
            model=self.model,
            node_id=self.node_id,
            messages=self.messages,
            reply_format=self.reply_format,
            withheld=self.withheld,
            instructions=self.instructions,
        )

    @property
    def follows_turn_id(self) -> None:
        """None: `after` identifies the preceding step."""
        return None


class GenerateStepResult(FrozenModel):
    """The reply of the model. `reused` is true if the step had been saved before and was only looked up.

    `watched` is true if somebody watches the session: its events are then recorded without delay.
    `summarize` is the end of the summary that the conversation needs now, if it needs one.
    `record` is how the record compared to the session when the step's `record` was settled; None if it was not.
    `line` is the simulated user's answer to the reply, if one was requested and could be generated.
    """

    reply: ModelReply
    reused: bool = False
    watched: bool = False
    summarize: SummaryPoint | None = None
    record: RecordState | None = None
    line: GeneratedLine | None = None


class StepHeartbeat(FrozenModel):
    """Heartbeat details of a model call, for its next attempt: the number of provider failures so far."""

    provider_failures: int = 0


class SettleTurnsResult(FrozenModel):
    """Number of new ledger rows, without turns billed before, and how the record compares to the session.

    `is_ahead`: the store knows more than the session does, as after a reset. `is_behind`: the store has lost what it
    had recorded. `is_another`: the record belongs to another execution, and was left as it is.
    """

    billed: int
    record: RecordState = "agrees"


def session_workflow_id(session_id: str) -> str:
    """Id of the workflow of a session."""
    return f"session-{session_id}"


def message_update_id(command: TurnCommand) -> str:
    """Update id of a command: its message id, a digest of its content, and what the client waits for.

    Temporal answers a repeated update id with the first result, without a validator. So a repeat of the same message
    joins the first call, while the same id with another text reaches the validator and is rejected.

    Raises ValueError for a command without a message id: two equal messages would count as one.
    """
    if command.message_id is None:
        raise ValueError("a message without a message_id cannot be sent as an update: generate a message_id")
    waits_for = "~handed_over" if command.hands_over else ""
    return f"{command.message_id}~{command_digest(command)}{waits_for if command.wait else '~accepted'}"


def results_update_id(command: ReturnResults) -> str:
    """Update id of results: equal results of the same calls join the first call, others reach the validator."""
    return f"results~{results_digest(command.results)}{'' if command.wait else '~accepted'}"
