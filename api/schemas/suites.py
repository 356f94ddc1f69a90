"""Response models of suites: progress, scenarios and reports."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api.schemas.responses import Cost, Money, Representation, TemporalLink, Turn
from api.schemas.suite_examples import SUITE, SUITE_REPORT, SUITE_RUN, SUITE_SUMMARY
from domain.sessions.timeline import Purpose
from domain.suites.statistics import Change
from domain.suites.suite_state import SuiteStatus
from domain.suites.verdicts import Outcome

RunState = Literal["waiting", "talking", "judging", "done"]


class Spent(Representation):
    """Cost of a suite: the sum of its ledger rows."""

    currency: Literal["USD"] = "USD"
    total: Money


class Progress(Representation):
    """Progress of a suite by its runs. `turns` and `cost` include running conversations.

    `held` is the part of the budget reserved for running conversations, beyond what they have cost so far.
    """

    planned: int
    running: int
    passed: int
    failed: int
    inconclusive: int
    turns: int
    cost: Spent
    held: Money


class ScenarioProgress(Representation):
    """Results of one scenario. `pass_rate` is that of the runs that passed or failed; null when there are none.

    `outcome` is null while it is undecided.
    """

    id: str
    tags: tuple[str, ...]
    planned: int
    passed: int
    failed: int
    inconclusive: int
    pass_rate: float | None
    outcome: Outcome | None


class SuiteSummary(Representation):
    """A suite without its progress. `outcome` is null until the suite has ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUITE_SUMMARY]})

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
    """A suite with its progress and the results of its scenarios so far."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUITE]})

    progress: Progress
    scenarios: tuple[ScenarioProgress, ...]


class Quote(Representation):
    """Words of a turn, exactly as they were said there."""

    turn_id: str
    text: str


class Criterion(Representation):
    """The judge's finding on one criterion, with the turns and the words it quotes."""

    criterion: str
    outcome: Outcome
    reason: str
    turn_ids: tuple[str, ...]
    quotes: tuple[Quote, ...]


class Finding(Representation):
    """A failed check, with the turns that show it."""

    check: str
    message: str
    turn_ids: tuple[str, ...]


class RunReport(Representation):
    """One conversation of a suite. `outcome` is null while it is running.

    `cut_short` is the limit that ended it early, `error` the error of judging it. `seconds` is the wall clock time
    from the start of the run to its verdict; `turns` are the newest 200 of the conversation, oldest first, and
    `turns_before` counts the older ones: all of them where the report has no room for the conversation.
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


class SuiteRun(Representation):
    """A planned conversation of a suite, without its turns. A run that has not begun has no session.

    `cost_by_purpose` divides the cost by the purposes of the ledger. `last_said` is the beginning of the last message,
    `updated_at` the time of the last record.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [SUITE_RUN]})

    scenario: str
    repeat: int
    seed: int
    session_id: str | None
    state: RunState
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


class Bounds(Representation):
    """95 % confidence interval of a difference."""

    low: float
    high: float


class ScenarioChange(Representation):
    """A scenario compared with its earlier run. `difference` is the pass rate now minus before."""

    scenario: str
    change: Change
    rate_before: float | None
    rate_now: float | None
    difference: float | None
    interval: Bounds | None


class BaselineReport(Representation):
    """Comparison of a suite with an earlier one: every scenario, and all common scenarios together."""

    suite_id: str
    suite_name: str
    overall: ScenarioChange
    scenarios: tuple[ScenarioChange, ...]


class SuiteReport(Representation):
    """Report of a suite: its results, and every conversation with its verdict, up to 8 MiB.

    For a larger suite, conversations are left out first, then runs: those of passed runs before others.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [SUITE_REPORT]})

    suite: Suite
    runs: tuple[RunReport, ...]
    runs_left_out: int = 0
    conversations_left_out: int = 0
    baseline: Annotated[
        BaselineReport | None, Field(description="Only in reports that were requested with a baseline.")
    ] = None
