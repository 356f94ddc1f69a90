"""Response models of suites: their definition, and their progress by runs and ledger rows."""

from api.schemas.responses import TemporalLink
from api.schemas.suites import Progress, ScenarioProgress, Spent, Suite, SuiteSummary
from contracts.suites import suite_workflow_id
from domain.suites.scenario import Scenario
from domain.suites.suite_state import Tally, outcome_of_scenario
from store.suites import StoredSuite, SuiteProgress


class SuiteRenderer:
    """Builds the response models of suites, with links to the Temporal UI when its URL is known."""

    def __init__(self, *, namespace: str, ui_url: str | None) -> None:
        self._workflows_url = f"{ui_url.rstrip('/')}/namespaces/{namespace}/workflows" if ui_url else None

    def summary(self, suite: StoredSuite) -> SuiteSummary:
        """A suite without its progress, for lists."""
        return SuiteSummary.model_validate(self._members(suite))

    def suite(self, suite: StoredSuite, standing: SuiteProgress) -> Suite:
        """A suite with its progress."""
        tallies = standing.tallies.values()
        progress = Progress(
            planned=suite.planned,
            running=standing.running,
            passed=sum(tally.passed for tally in tallies),
            failed=sum(tally.failed for tally in tallies),
            inconclusive=sum(tally.inconclusive for tally in tallies),
            turns=standing.turns,
            cost=Spent(total=standing.cost),
            held=standing.held,
        )
        scenarios = tuple(_scenario(suite, each, standing) for each in suite.suite.scenarios)
        return Suite.model_validate({**self._members(suite), "progress": progress, "scenarios": scenarios})

    def _members(self, suite: StoredSuite) -> dict[str, object]:
        workflow_id = suite_workflow_id(suite.id)
        url = f"{self._workflows_url}/{workflow_id}" if self._workflows_url else None
        return {
            "id": suite.id,
            "name": suite.suite.name,
            "agent_id": suite.agent_id,
            "agent_version": suite.agent_version,
            "agent_name": suite.agent_name,
            "status": suite.status,
            "outcome": suite.outcome,
            "planned": suite.planned,
            "seed": suite.suite.seed,
            "concurrency": suite.suite.concurrency,
            "budget_usd": suite.suite.budget_usd,
            "min_pass_rate": suite.suite.min_pass_rate,
            "created_at": suite.created_at,
            "updated_at": suite.updated_at,
            "temporal": TemporalLink(workflow_id=workflow_id, run_id=None, ui_url=url),
        }


def _scenario(suite: StoredSuite, scenario: Scenario, standing: SuiteProgress) -> ScenarioProgress:
    tally = standing.tallies.get(scenario.id, Tally())
    planned = suite.suite.repeats_of(scenario)
    outcome = outcome_of_scenario(tally, planned, suite.suite.min_pass_rate)
    decided = tally.passed + tally.failed
    is_open = outcome == "inconclusive" and suite.outcome is None and tally.runs < planned
    return ScenarioProgress(
        id=scenario.id,
        tags=scenario.tags,
        planned=planned,
        passed=tally.passed,
        failed=tally.failed,
        inconclusive=tally.inconclusive,
        pass_rate=tally.passed / decided if decided else None,
        outcome=None if is_open else outcome,
    )
