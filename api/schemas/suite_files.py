"""Parsing of suites from YAML or JSON, with overrides from the request."""

from collections.abc import Collection
from decimal import Decimal
from typing import Final

from pydantic import BaseModel, ConfigDict

from api.schemas.structured_text import TextFormat, parse_text
from domain.agents.validation_errors import ValidationIssue
from domain.suites.scenario import InvalidSuite, Suite, parse_suite
from domain.suites.suite_state import plan_of

MAX_RUNS: Final = 10_000
"""Conversations of one suite."""


class SuiteOverrides(BaseModel):
    """Values that override those of a suite; None keeps the value. With tags, only scenarios with one of them run.

    `repeats` also overrides the repeats of scenarios.
    """

    model_config = ConfigDict(frozen=True)

    repeats: int | None = None
    concurrency: int | None = None
    budget_usd: Decimal | None = None
    seed: int | None = None
    min_pass_rate: float | None = None
    tags: tuple[str, ...] = ()


def read_suite(text: bytes, format: TextFormat, overrides: SuiteOverrides) -> Suite:
    """Parse a suite and apply overrides. Raises InvalidDefinition with all errors."""
    suite = _with_overrides(parse_suite(parse_text(text, format)), overrides)
    runs = len(plan_of(suite))
    if runs > MAX_RUNS:
        message = f"the suite has {runs} conversations; the maximum is {MAX_RUNS}"
        raise InvalidSuite([ValidationIssue(path="repeats", message=message)])
    return suite


def _with_overrides(suite: Suite, overrides: SuiteOverrides) -> Suite:
    given = overrides.model_dump(exclude_none=True, exclude={"tags"})
    scenarios = suite.scenarios
    if overrides.tags:
        scenarios = tuple(each for each in scenarios if set(overrides.tags) & set(each.tags))
        if not scenarios:
            raise InvalidSuite([_unknown_tags(suite, overrides.tags)])
    if overrides.repeats is not None:
        scenarios = tuple(each.model_copy(update={"repeats": None}) for each in scenarios)
    return suite.model_copy(update={**given, "scenarios": scenarios})


def _unknown_tags(suite: Suite, tags: Collection[str]) -> ValidationIssue:
    known = sorted({tag for scenario in suite.scenarios for tag in scenario.tags})
    has = f"the suite has the tags {', '.join(known)}" if known else "no scenario of the suite has tags"
    return ValidationIssue(path="scenarios", message=f"no scenario has the tag {' or '.join(sorted(tags))}; {has}")
