"""The current details of a suite in the Temporal UI: its progress, and the results of each scenario."""

from domain.suites.scenario import Suite
from domain.suites.suite_state import SuiteProgress, SuiteState, Tally

MAX_SCENARIOS = 50
"""Scenarios that are shown, in the order of the suite."""


def suite_details(state: SuiteState, suite: Suite, progress: SuiteProgress) -> str:
    """The state of a suite as Markdown."""
    judged = progress.passed + progress.failed + progress.inconclusive
    budget = f" of {suite.budget_usd:f}" if suite.budget_usd is not None else ""
    lines = [
        f"**{progress.status}**: {judged} of {progress.planned} judged, {progress.running} under way, "
        f"{progress.cost.normalize():f}{budget} USD",
        "",
        "| scenario | passed | failed | inconclusive |",
        "| --- | ---: | ---: | ---: |",
    ]
    for scenario in suite.scenarios[:MAX_SCENARIOS]:
        tally = state.tallies.get(scenario.id, Tally())
        lines.append(f"| {scenario.id} | {tally.passed} | {tally.failed} | {tally.inconclusive} |")
    return "\n".join(lines)
