"""Semantic validation of a suite, applied to parsed data, even if parts of it are malformed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from domain.agents.names import name_issues
from domain.agents.safe_regex import RegexLimits
from domain.agents.validation_errors import (
    Location,
    ValidationIssue,
    format_path,
    format_value,
    list_or_empty,
    mapping_or_empty,
)

MAX_MOCKS: Final = 100
"""Mocks of a scenario; the schema validation rejects more."""
MAX_VERSION_DIGITS: Final = 9

Json = Mapping[str, object]


def semantic_issues(suite: Json) -> Iterator[ValidationIssue]:
    """All semantic issues of a suite, in the order of its scenarios."""
    scenarios = [
        (("scenarios", index), mapping_or_empty(scenario))
        for index, scenario in enumerate(list_or_empty(suite.get("scenarios")))
    ]
    counts = Counter(scenario.get("id") for _, scenario in scenarios if isinstance(scenario.get("id"), str))
    yield from _agent(suite)
    regexes = RegexLimits()
    for location, scenario in scenarios:
        yield from _id(location, scenario, counts)
        yield from _start(location, scenario)
        yield from _success(location, scenario)
        yield from _turns(location, scenario)
        yield from _patterns((*location, "checks"), mapping_or_empty(scenario.get("checks")), regexes)
        yield from _mocks(location, scenario)


def _agent(suite: Json) -> Iterator[ValidationIssue]:
    agent = suite.get("agent")
    if not isinstance(agent, str) or "@" not in agent:
        return
    name, _, version = agent.rpartition("@")
    is_number = version.isascii() and version.isdecimal() and len(version) <= MAX_VERSION_DIGITS
    if not name.strip() or not is_number or int(version) < 1:
        message = f"{format_value(agent)} must be a name or an id, or one with a version, such as booking-line@3"
        yield ValidationIssue(path="agent", message=message)


def _id(location: Location, scenario: Json, counts: Counter[object]) -> Iterator[ValidationIssue]:
    name = scenario.get("id")
    if not isinstance(name, str) or not name.strip():
        return
    at = (*location, "id")
    yield from name_issues(at, name)
    if counts[name] > 1:
        yield ValidationIssue(
            path=format_path(at), message=f"{counts[name]} scenarios have the id {format_value(name)}; rename them"
        )


def _start(location: Location, scenario: Json) -> Iterator[ValidationIssue]:
    if scenario.get("history") is not None and scenario.get("context"):
        message = "a recorded session keeps its initial context: remove context, or history"
        yield ValidationIssue(path=format_path((*location, "context")), message=message)


def _success(location: Location, scenario: Json) -> Iterator[ValidationIssue]:
    if not scenario.get("success") and not scenario.get("checks"):
        message = "has neither success criteria nor checks, so it cannot fail; add one of them"
        yield ValidationIssue(path=format_path(location), message=message)
    seen: set[str] = set()
    for index, criterion in enumerate(list_or_empty(scenario.get("success"))):
        if isinstance(criterion, str) and criterion.strip() in seen:
            yield ValidationIssue(path=format_path((*location, "success", index)), message="is a duplicate; remove it")
        if isinstance(criterion, str):
            seen.add(criterion.strip())


def _turns(location: Location, scenario: Json) -> Iterator[ValidationIssue]:
    min_turns, max_turns = scenario.get("min_turns"), mapping_or_empty(scenario.get("limits")).get("max_turns")
    if isinstance(min_turns, int) and isinstance(max_turns, int) and min_turns > max_turns:
        message = f"is {min_turns}, but the simulated user stops after {max_turns} turns (limits.max_turns)"
        yield ValidationIssue(path=format_path((*location, "min_turns")), message=message)


def _patterns(location: Location, checks: Json, regexes: RegexLimits) -> Iterator[ValidationIssue]:
    for index, pattern in enumerate(list_or_empty(checks.get("never_matches"))):
        message = regexes.issue(pattern) if isinstance(pattern, str) else None
        if message:
            yield ValidationIssue(path=format_path((*location, "never_matches", index)), message=message)


def _mocks(location: Location, scenario: Json) -> Iterator[ValidationIssue]:
    """Issues of mocks: a mock after one that matches all its calls is never used."""
    earlier: list[Json] = []
    for index, mock in enumerate(map(mapping_or_empty, list_or_empty(scenario.get("mocks"))[:MAX_MOCKS])):
        at = (*location, "mocks", index)
        if mock.get("error") is not None and mock.get("result") is not None:
            yield ValidationIssue(path=format_path(at), message="has both a result and an error; remove one of them")
        arguments = mapping_or_empty(mock.get("arguments"))
        hidden = any(
            mock.get("tool") == other.get("tool")
            and all(name in arguments and arguments[name] == value for name, value in _arguments(other))
            for other in earlier
        )
        if hidden:
            message = "is never used: an earlier mock of the same tool matches every call that this one matches"
            yield ValidationIssue(path=format_path(at), message=message)
        earlier.append(mock)


def _arguments(mock: Json) -> list[tuple[str, object]]:
    return list(mapping_or_empty(mock.get("arguments")).items())
