"""The rules that a suite must keep by itself, checked on what was written even where parts of it are malformed."""

from collections import Counter
from collections.abc import Iterator, Mapping

from domain.agents.names import name_issues
from domain.agents.safe_regex import is_supported_regex
from domain.agents.validation_errors import Location, ValidationIssue, format_path, format_value

Part = Mapping[str, object]


def semantic_issues(suite: Part) -> list[ValidationIssue]:
    """Every issue of meaning in a written suite, in the order of its scenarios."""
    scenarios = [
        (("scenarios", index), _mapping(scenario)) for index, scenario in enumerate(_list(suite.get("scenarios")))
    ]
    counts = Counter(scenario.get("id") for _, scenario in scenarios if isinstance(scenario.get("id"), str))
    issues = [*_agent(suite)]
    for location, scenario in scenarios:
        issues += _id(location, scenario, counts)
        issues += _start(location, scenario)
        issues += _success(location, scenario)
        issues += _turns(location, scenario)
        issues += _patterns((*location, "checks"), _mapping(scenario.get("checks")))
        issues += _mocks(location, scenario)
    return issues


def _agent(suite: Part) -> Iterator[ValidationIssue]:
    agent = suite.get("agent")
    if not isinstance(agent, str) or "@" not in agent:
        return
    name, _, version = agent.rpartition("@")
    if not name.strip() or not version.isascii() or not version.isdecimal() or int(version) < 1:
        message = f"{format_value(agent)} must be a name or an id, or one with a version, such as booking-line@3"
        yield ValidationIssue(path="agent", message=message)


def _id(location: Location, scenario: Part, counts: Counter[object]) -> Iterator[ValidationIssue]:
    name = scenario.get("id")
    if not isinstance(name, str) or not name.strip():
        return
    at = (*location, "id")
    yield from name_issues(at, name)
    if counts[name] > 1:
        yield ValidationIssue(
            path=format_path(at), message=f"{counts[name]} scenarios have the id {format_value(name)}; rename them"
        )


def _start(location: Location, scenario: Part) -> Iterator[ValidationIssue]:
    if scenario.get("history") is not None and scenario.get("context"):
        message = "a recorded session goes on with what it began with: remove context, or history"
        yield ValidationIssue(path=format_path((*location, "context")), message=message)


def _success(location: Location, scenario: Part) -> Iterator[ValidationIssue]:
    if not scenario.get("success") and not scenario.get("checks"):
        message = "has neither success criteria nor checks, so nothing could fail"
        yield ValidationIssue(path=format_path(location), message=message)
    seen: set[str] = set()
    for index, criterion in enumerate(_list(scenario.get("success"))):
        if isinstance(criterion, str) and criterion.strip() in seen:
            yield ValidationIssue(path=format_path((*location, "success", index)), message="is there twice")
        if isinstance(criterion, str):
            seen.add(criterion.strip())


def _turns(location: Location, scenario: Part) -> Iterator[ValidationIssue]:
    least, most = scenario.get("min_turns"), _mapping(scenario.get("limits")).get("max_turns")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        message = f"is {least}, but the caller stops after {most} turns (limits.max_turns)"
        yield ValidationIssue(path=format_path((*location, "min_turns")), message=message)


def _patterns(location: Location, checks: Part) -> Iterator[ValidationIssue]:
    for index, pattern in enumerate(_list(checks.get("never_matches"))):
        if isinstance(pattern, str) and not is_supported_regex(pattern):
            message = f"{format_value(pattern)} is no pattern that can be used here: no look-around, no back-references"
            yield ValidationIssue(path=format_path((*location, "never_matches", index)), message=message)


def _mocks(location: Location, scenario: Part) -> Iterator[ValidationIssue]:
    """A mock that an earlier one always goes before would never answer."""
    earlier: list[Part] = []
    for index, mock in enumerate(map(_mapping, _list(scenario.get("mocks")))):
        at = (*location, "mocks", index)
        if mock.get("error") is not None and mock.get("result") is not None:
            yield ValidationIssue(
                path=format_path(at), message="has both a result and an error; a call has one of them"
            )
        arguments = _mapping(mock.get("arguments"))
        hidden = any(
            mock.get("tool") == other.get("tool")
            and all(name in arguments and arguments[name] == value for name, value in _arguments(other))
            for other in earlier
        )
        if hidden:
            message = "never answers: an earlier mock of the same tool matches every call that this one would"
            yield ValidationIssue(path=format_path(at), message=message)
        earlier.append(mock)


def _arguments(mock: Part) -> list[tuple[str, object]]:
    return list(_mapping(mock.get("arguments")).items())


def _mapping(value: object) -> Part:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
