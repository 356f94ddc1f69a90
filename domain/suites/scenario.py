"""Scenario files: a suite, its scenarios, their simulated users and success criteria."""

from collections.abc import Collection
from decimal import Decimal
from hashlib import sha256
from typing import Annotated

from pydantic import Field, JsonValue

from domain.agents.tool_mocks import ToolMock
from domain.agents.tools import AuthoredModel, nonblank
from domain.agents.validation_errors import InvalidDefinition, Location, validate_definition
from domain.sessions.caller_config import (
    MAX_CALLER_MESSAGE_CHARACTERS,
    MAX_GOAL_CHARACTERS,
    CallerLimits,
    Facts,
    Persona,
    SimulatorConfig,
)
from domain.suites.checks import Checks, RequiredCall
from domain.suites.validation import semantic_issues

MAX_SEED = 2**31 - 1

Criterion = Annotated[str, nonblank(1_000)]
ModelName = Annotated[str, nonblank(200)]
Repeats = Annotated[int, Field(strict=True, ge=1, le=1_000)]
Rate = Annotated[float, Field(ge=0, le=1)]


class RecordedStart(AuthoredModel):
    """A recorded session to continue from, after one of its turns (None: the newest)."""

    session: Annotated[str, nonblank(64)]
    turn: Annotated[str, nonblank(64)] | None = None


class Scenario(AuthoredModel):
    """One simulated user: its persona, goal and facts, and the criteria of success.

    It starts with `opening`, or continues from `history`. `success` are criteria for a judge, in plain words; `checks`
    need no judge. `repeats` and the models override those of the suite.
    """

    id: Annotated[str, nonblank(64)]
    persona: Persona = Persona()
    goal: Annotated[str, nonblank(MAX_GOAL_CHARACTERS)]
    facts: Facts = {}
    opening: Annotated[str, nonblank(MAX_CALLER_MESSAGE_CHARACTERS)] | None = None
    history: RecordedStart | None = None
    context: Annotated[dict[str, JsonValue], Field(max_length=500)] = {}
    success: Annotated[tuple[Criterion, ...], Field(max_length=30)] = ()
    checks: Checks = Checks()
    mocks: Annotated[tuple[ToolMock, ...], Field(max_length=100)] = ()
    caller_model: ModelName | None = None
    judge_model: ModelName | None = None
    repeats: Repeats | None = None
    tags: Annotated[tuple[Annotated[str, nonblank(64)], ...], Field(max_length=20)] = ()
    min_turns: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 0
    limits: CallerLimits = CallerLimits()

    def simulator(self, *, model: str | None, seed: int) -> SimulatorConfig:
        """Configuration of the simulated user of this scenario."""
        return SimulatorConfig(
            persona=self.persona,
            goal=self.goal,
            facts=self.facts,
            opening=self.opening,
            min_turns=self.min_turns,
            limits=self.limits,
            model=self.caller_model or model,
            seed=seed,
        )


class Suite(AuthoredModel):
    """Scenarios to run with one agent, with limited concurrency, within a budget in US dollars.

    `agent` is a name or an id, optionally followed by `@` and a version. The default models are the installation's.
    The suite passes if at least `min_pass_rate` of the runs of every scenario pass.
    """

    name: Annotated[str, nonblank(200)]
    agent: Annotated[str, nonblank(240)]
    model: ModelName | None = None
    caller_model: ModelName | None = None
    judge_model: ModelName | None = None
    concurrency: Annotated[int, Field(strict=True, ge=1, le=500)] = 10
    budget_usd: Annotated[Decimal, Field(gt=0, le=1_000_000)] | None = None
    repeats: Repeats = 1
    seed: Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)] = 0
    min_pass_rate: Rate = 1.0
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1, max_length=1_000)]

    @property
    def agent_name(self) -> str:
        """Name or id of the agent, without the version."""
        return self.agent.rpartition("@")[0] if self.agent_version is not None else self.agent

    @property
    def agent_version(self) -> int | None:
        """Version of the agent; None for the latest."""
        _, at, version = self.agent.rpartition("@")
        return int(version) if at and version.isdecimal() else None

    def repeats_of(self, scenario: Scenario) -> int:
        """Number of runs of a scenario."""
        return scenario.repeats or self.repeats

    def seed_of(self, scenario_id: str, repeat: int) -> int:
        """Seed of one run: the same for the same suite seed, scenario and repeat (counted from 1)."""
        digest = sha256(f"{self.seed}\n{scenario_id}\n{repeat}".encode()).digest()
        return int.from_bytes(digest[:4], "big") & MAX_SEED


class InvalidSuite(InvalidDefinition):
    """A suite definition with validation issues (at least one)."""

    subject = "suite"


def parse_suite(data: object) -> Suite:
    """Validate parsed YAML or JSON as a suite.

    Raises InvalidSuite with every issue: of the schema (types, lengths, unknown fields) and of its rules (duplicate
    names, scenarios that cannot fail, unsupported regular expressions). `compatibility_issues` compares the suite with
    its agent.
    """
    return validate_definition(
        data,
        Suite,
        InvalidSuite,
        known_fields=_known_fields,
        source_location=_source_location,
        semantic_issues=semantic_issues,
    )


def _known_fields(location: Location) -> Collection[str]:
    parts: dict[tuple[str, ...], type[AuthoredModel]] = {
        (): Suite,
        ("scenarios",): Scenario,
        ("scenarios", "persona"): Persona,
        ("scenarios", "history"): RecordedStart,
        ("scenarios", "limits"): CallerLimits,
        ("scenarios", "mocks"): ToolMock,
        ("scenarios", "checks"): Checks,
        ("scenarios", "checks", "must_call"): RequiredCall,
    }
    part = parts.get(tuple(name for name in location if isinstance(name, str)))
    return part.model_fields if part else ()


def _source_location(location: Location) -> Location:
    """The location without the union members that pydantic appends for a fact."""
    is_fact = location[:1] == ("scenarios",) and location[2:3] == ("facts",)
    return location[:4] if is_fact else location
