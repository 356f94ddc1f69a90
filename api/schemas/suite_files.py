"""Suites as people write them: YAML or JSON text to a suite, with what the caller wants otherwise in its place."""

from collections.abc import Collection
from decimal import Decimal
from typing import Final

from pydantic import BaseModel, ConfigDict

from api.schemas.agent_files import TextFormat, parse_text
from domain.agents.validation_errors import ValidationIssue
from domain.suites.scenario import InvalidSuite, Suite, parse_suite
from domain.suites.suite_state import plan_of

MAX_RUNS: Final = 10_000
"""Conversations of one suite."""


class SuiteOverrides(BaseModel):
    """What is wanted otherwise than the suite says; None leaves it as it is. Only scenarios with one of the tags run.

    `repeats` goes before the repeats of scenarios too.
    """

    model_config = ConfigDict(frozen=True)

    repeats: int | None = None
    concurrency: int | None = None
    budget_usd: Decimal | None = None
    seed: int | None = None
    min_pass_rate: float | None = None
    tags: tuple[str, ...] = ()


def read_suite(text: bytes, written: TextFormat, changes: SuiteOverrides) -> Suite:
    """The suite in a text, changed. Raises InvalidDefinition with every fault."""
    suite = _changed(parse_suite(parse_text(text, written)), changes)
    runs = len(plan_of(suite))
    if runs > MAX_RUNS:
        message = f"the suite has {runs} conversations; at most {MAX_RUNS} are run at once"
        raise InvalidSuite([ValidationIssue(path="repeats", message=message)])
    return suite


def _changed(suite: Suite, changes: SuiteOverrides) -> Suite:
    given = changes.model_dump(exclude_none=True, exclude={"tags"})
    scenarios = suite.scenarios
    if changes.tags:
        scenarios = tuple(each for each in scenarios if set(changes.tags) & set(each.tags))
        if not scenarios:
            raise InvalidSuite([_unknown_tags(suite, changes.tags)])
    if changes.repeats is not None:
        scenarios = tuple(each.model_copy(update={"repeats": None}) for each in scenarios)
    return suite.model_copy(update={**given, "scenarios": scenarios})


def _unknown_tags(suite: Suite, tags: Collection[str]) -> ValidationIssue:
    known = sorted({tag for scenario in suite.scenarios for tag in scenario.tags})
    has = f"the suite has the tags {', '.join(known)}" if known else "no scenario of the suite has tags"
    return ValidationIssue(path="scenarios", message=f"no scenario has the tag {' or '.join(sorted(tags))}; {has}")
