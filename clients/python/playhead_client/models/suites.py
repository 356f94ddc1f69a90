"""Suites: progress, scenarios, and the report with every conversation."""

from datetime import datetime
from typing import Literal

from playhead_client.models.response_model import Money, ResponseModel
from playhead_client.models.sessions import TemporalLink, Turn
from playhead_client.models.usage import Cost, Purpose

Outcome = Literal["passed", "failed", "inconclusive"]
SuiteStatus = Literal["running", "paused", "completed", "cancelled"]
Change = Literal["worse", "better", "perhaps_worse", "perhaps_better", "same", "new", "gone", "undecided"]


class Spent(ResponseModel):
    """Money that a suite has spent, according to its ledger rows."""

    currency: Literal["USD"] = "USD"
    total: Money


class Progress(ResponseModel):
    """Progress of a suite, counted in runs. `turns` and `cost` include running conversations.

    `held` is the part of the budget reserved for running conversations, beyond their cost so far.
    """

    planned: int
    running: int
    passed: int
    failed: int
    inconclusive: int
    turns: int
    cost: Spent
    held: Money


class ScenarioProgress(ResponseModel):
    """Runs of one scenario. `pass_rate` is the share of passed runs among those that passed or failed.

    `outcome` is null while the scenario can still pass or fail.
    """

    id: str
    tags: tuple[str, ...]
    planned: int
    passed: int
    failed: int
    inconclusive: int
    pass_rate: float | None
    outcome: Outcome | None


class SuiteSummary(ResponseModel):
    """A suite without its progress. `outcome` is null until it is over."""

    id: str
    name: str
    agent_id: str
    agent_version: int
    agent_name: str
    status: SuiteStatus
    outcome: Outcome | None
    planned: int
    seed: int
    concurrency: int
    budget_usd: Money | None
    min_pass_rate: float
    created_at: datetime
    updated_at: datetime
    temporal: TemporalLink


class Suite(SuiteSummary):
    """A suite with its progress and that of its scenarios."""

    progress: Progress
    scenarios: tuple[ScenarioProgress, ...]


class Quote(ResponseModel):
    """Words quoted verbatim from a turn."""

    turn_id: str
    text: str


class Criterion(ResponseModel):
    """The judge's verdict on one criterion, and the turns and words quoted for it."""

    criterion: str
    outcome: Outcome
    reason: str
    turn_ids: tuple[str, ...]
    quotes: tuple[Quote, ...]


class Finding(ResponseModel):
    """A check that failed, and the turns that show it."""

    check: str
    message: str
    turn_ids: tuple[str, ...]


class RunReport(ResponseModel):
    """One conversation of a suite. `outcome` is null while it is running.

    `cut_short` is the reason why it did not reach its end, `error` a failure of the judge. `seconds` are wall clock
    from the start of the run to its verdict. `turns` are the newest 200, oldest first; `turns_before` counts the older.
    """

    scenario: str
    repeat: int
    seed: int
    session_id: str
    outcome: Outcome | None
    criteria: tuple[Criterion, ...]
    findings: tuple[Finding, ...]
    cut_short: str | None
    error: str | None
    completion_reason: str | None
    turn_count: int
    cost: Money
    unpriced_models: tuple[str, ...]
    started_at: datetime
    seconds: float | None
    turns_before: int
    turns: tuple[Turn, ...]


class SuiteRun(ResponseModel):
    """A planned conversation of a suite, without its turns. A run that has not begun has no session."""

    scenario: str
    repeat: int
    seed: int
    session_id: str | None
    state: Literal["waiting", "talking", "judging", "done"]
    outcome: Outcome | None
    criteria: tuple[Criterion, ...]
    findings: tuple[Finding, ...]
    cut_short: str | None
    completion_reason: str | None
    error: str | None
    turn_count: int
    last_said: str | None
    cost: Cost
    cost_by_purpose: dict[Purpose, Money]
    started_at: datetime | None
    seconds: float | None
    updated_at: datetime


class Bounds(ResponseModel):
    """A 95 % confidence interval."""

    low: float
    high: float


class ScenarioChange(ResponseModel):
    """A scenario now and earlier. `difference` is the pass rate now minus the one before."""

    scenario: str
    change: Change
    rate_before: float | None
    rate_now: float | None
    difference: float | None
    interval: Bounds | None


class BaselineReport(ResponseModel):
    """The comparison of a suite with an earlier one: each scenario, and all common scenarios together."""

    suite_id: str
    suite_name: str
    overall: ScenarioChange
    scenarios: tuple[ScenarioChange, ...]


class SuiteReport(ResponseModel):
    """A suite with every conversation and its verdict. `baseline` is set when a baseline was requested.

    A report has at most 8 MiB: `runs_left_out` and `conversations_left_out` count what had no room.
    """

    suite: Suite
    runs: tuple[RunReport, ...]
    runs_left_out: int = 0
    conversations_left_out: int = 0
    baseline: BaselineReport | None = None
