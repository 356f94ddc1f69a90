"""Limits on regular expressions: their cost is estimated before anything is compiled, and few are kept compiled."""

import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from domain.agents import safe_regex
from domain.agents.safe_regex import (
    MAX_PATTERN_BYTES,
    MAX_PATTERNS,
    MatchBudget,
    RegexLimits,
    UnsupportedRegex,
    cost_of,
    is_supported_regex,
    matches,
)

ROOT = Path(__file__).parents[3]
EVERYDAY = [
    r"^\d{4}-\d{2}-\d{2}$",
    r"^[\w.+-]{1,40}@[\w-]+\.[\w.]+$",
    r"^\+?[0-9 ()-]{5,20}$",
    r"(?i)^(yes|no|perhaps)$",
    r"^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$",
    r"^\p{L}[\p{L} '-]{0,30}$",
    r"^.{1,1000}$",
    r"^(?P<hour>[01]\d|2[0-3]):[0-5]\d$",
]


@pytest.mark.parametrize("pattern", EVERYDAY)
def test_everyday_pattern_is_accepted(pattern: str) -> None:
    assert is_supported_regex(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\w{1000}",
        r"(\w{30}){30}",
        r"\w{9}*{9}",
        r"\w{00000000000001000}",
        r"(?x)\w {1000}",
        r"(?i)[a-z]{9999}",
        "a{10001}",
        "((a{100}){100}){100}",
        "(?:(?:){1000}){1000}",
        r"[[\w]]{ 1000 }",
        "a" * 2_001,
    ],
)
def test_large_pattern_is_refused_before_it_is_compiled(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_regex, "_compiled", lambda _: pytest.fail("was compiled"))
    assert not is_supported_regex(pattern)
    with pytest.raises(UnsupportedRegex):
        matches(pattern, "a")


MEASURE = """
import sys
from domain.agents import safe_regex

def used():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

safe_regex._compiled("a{3}")
for pattern in sys.stdin.read().split("\\n"):
    before = used()
    kept = [safe_regex._compiled(f"{pattern}|x{number}") for number in range(10)]
    assert None not in kept, pattern
    print((used() - before) // 10, safe_regex.cost_of(f"{pattern}|x11").size, pattern)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_cost_is_not_estimated_too_low() -> None:
    patterns = [
        r"\w{50}",
        r"\W{50}",
        r"\p{L}{50}",
        r"[\w&&[^a]]{50}",
        r"\d{200}",
        r".{1000}",
        r"[^a]{1000}",
        r"(?i)k{1000}",
        r"(?i)[a-z]{1000}",
        r"(a?){1000}",
        r"a{9000}",
        r"[\x{100}-\x{10ffff}]{1000}",
        r"[[:^alpha:]]{500}",
        *EVERYDAY,
    ]
    output = subprocess.run(
        [sys.executable, "-c", MEASURE], input="\n".join(patterns), capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    for line in output.splitlines():
        real, estimated, pattern = line.split(" ", 2)
        assert int(real) <= 1.5 * int(estimated) + 50_000, pattern


def test_the_cache_of_compiled_patterns_is_bounded() -> None:
    for number in range(200):
        matches(rf"\w{{20}}{number}", "a")
    kept = list(safe_regex._cache.values())
    assert len(kept) <= 16
    assert sum(cost.size for cost, _ in kept) <= 2 * MAX_PATTERN_BYTES


def test_definition_may_not_have_too_many_patterns() -> None:
    limits = RegexLimits()
    assert [limits.issue(f"a{number}") for number in range(MAX_PATTERNS)] == [None] * MAX_PATTERNS
    assert "one regular expression too many" in (limits.issue("b") or "")
    assert limits.issue("a1") is None  # counted already
    assert limits.issue("c") is None  # reported once


def test_patterns_of_a_definition_may_not_be_too_large_together() -> None:
    limits = RegexLimits()
    found = next(fault for fault in (limits.issue(rf"\w{{50}}{number}") for number in count()) if fault)
    assert "too large together" in found


def test_matching_takes_no_more_steps_than_the_budget_has() -> None:
    budget = MatchBudget(2 * cost_of("a{1000}").positions * 10_000)
    assert not matches("a{1000}", "b" * 10_000, budget)
    with pytest.raises(UnsupportedRegex, match="too many steps"):
        matches("a{1000}", "b" * 10_000, budget)
