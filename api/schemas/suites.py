"""What the API shows of suites: how far one is, what came of its scenarios, and every conversation in a report."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api.schemas.responses import Money, Representation, TemporalLink, Turn
from api.schemas.suite_examples import SUITE, SUITE_REPORT, SUITE_SUMMARY
from domain.suites.statistics import Change
from domain.suites.suite_state import SuiteStatus
from domain.suites.verdicts import Outcome


class Spent(Representation):
    """Money that a suite has spent, as its ledger rows say."""

    currency: Literal["USD"] = "USD"
    total: Money


class Progress(Representation):
    """How far a suite is, by its runs. `turns` and `cost` are of all its conversations, the running ones included."""

    planned: int
    running: int
    passed: int
    failed: int
    inconclusive: int
    turns: int
    cost: Spent


class ScenarioProgress(Representation):
    """What came of the runs of one scenario. `pass_rate` is of those that passed or failed; null when there are none.

    `outcome` is null while the scenario could still go either way.
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
    """A suite without its progress. `outcome` is null until it is over."""

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
    """A suite, with how far it is and what came of its scenarios so far."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUITE]})

    progress: Progress
    scenarios: tuple[ScenarioProgress, ...]


class Criterion(Representation):
    """What the judge found of one criterion, and the turns it quotes for it."""

    criterion: str
    outcome: Outcome
    reason: str
    turn_ids: tuple[str, ...]


class Finding(Representation):
    """A check that did not hold, and the turns that show it."""

    check: str
    message: str
    turn_ids: tuple[str, ...]


class RunReport(Representation):
    """One conversation of a suite. `outcome` is null while it goes on.

    `cut_short` says what kept it from its end, `error` what went wrong in judging it. `seconds` are of wall clock from
    the start of the run to its verdict; `turns` are the newest 200 of the conversation, oldest first, and
    `turns_before` counts the older ones.
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


class Bounds(Representation):
    """Where a difference lies, with a confidence of 95 %."""

    low: float
    high: float


class ScenarioChange(Representation):
    """A scenario now and earlier. `difference` is of the pass rates, now less before."""

    scenario: str
    change: Change
    rate_before: float | None
    rate_now: float | None
    difference: float | None
    interval: Bounds | None


class BaselineReport(Representation):
    """How a suite compares with an earlier one: every scenario, and those that both have taken together."""

    suite_id: str
    suite_name: str
    overall: ScenarioChange
    scenarios: tuple[ScenarioChange, ...]


class SuiteReport(Representation):
    """Everything about a suite: what came of it, and every conversation with its verdict."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUITE_REPORT]})

    suite: Suite
    runs: tuple[RunReport, ...]
    baseline: Annotated[
        BaselineReport | None, Field(description="Only when the report was asked for with a baseline.")
    ] = None
