"""Data of a suite report, read from the store: runs, verdicts and conversations."""

from typing import Final

from api.http.problems import not_found
from api.schemas.responses import Turn
from api.schemas.suites import BaselineReport, Bounds, Criterion, Finding, RunReport, ScenarioChange, SuiteReport
from api.suites.rendering import SuiteRenderer
from domain.suites.statistics import RunCounts, ScenarioComparison, compare
from domain.suites.verdicts import Verdict
from store.sessions.sessions import SessionStore
from store.suites import StoredRun, StoredSuite, SuiteProgress, SuiteStore

MAX_TURNS: Final = 200
"""Turns of one conversation in a report, the newest."""
MAX_REPORT_BYTES: Final = 8 * 1024 * 1024
"""Size of the runs in a report, as JSON. Failed runs and their conversations come first, passed ones last."""
RUNS_AT_ONCE: Final = 100


class SuiteReportService:
    """Gathers reports from the records in the store. For runs under way these are what was settled so far."""

    def __init__(self, suites: SuiteStore, sessions: SessionStore, renderer: SuiteRenderer) -> None:
        self._suites = suites
        self._sessions = sessions
        self._renderer = renderer

    async def report(self, suite: StoredSuite, *, transcripts: bool = True, baseline: str | None = None) -> SuiteReport:
        """The report of a suite. `baseline` is the id of an earlier one to compare with.

        Raises Problem("not_found") when there is no such suite.
        """
        standing = await self._suites.progress(suite.id)
        runs, size = await self._runs(suite)
        conversations_left_out = await self._add_conversations(suite, runs, size) if transcripts else 0
        started = standing.running + sum(tally.runs for tally in standing.tallies.values())
        return SuiteReport(
            suite=self._renderer.suite(suite, standing),
            runs=tuple(sorted(runs, key=lambda run: (run.repeat, run.started_at, run.scenario))),
            runs_left_out=max(0, started - len(runs)),
            conversations_left_out=conversations_left_out,
            baseline=await self._compared(suite, standing, baseline) if baseline is not None else None,
        )

    async def _runs(self, suite: StoredSuite) -> tuple[list[RunReport], int]:
        """The most important runs without their turns, as many as a report may have, and their size."""
        runs: list[RunReport] = []
        size = 0
        while found := await self._suites.important_runs(suite.id, limit=RUNS_AT_ONCE, offset=len(runs)):
            for run in found:
                runs.append(await self._run(suite, run))
                size += len(runs[-1].model_dump_json())
                if size > MAX_REPORT_BYTES:
                    return runs, size
        return runs, size

    async def _add_conversations(self, suite: StoredSuite, runs: list[RunReport], size: int) -> int:
        """Add the turns of runs, in their order, while the report has room. Returns the number of runs left without."""
        for index, run in enumerate(runs):
            if size > MAX_REPORT_BYTES:
                return len(runs) - index
            turns = await self._turns(suite, run)
            size += sum(len(turn.model_dump_json()) for turn in turns)
            if size <= MAX_REPORT_BYTES or index == 0:
                before = turns[0].index if turns else 0
                runs[index] = run.model_copy(update={"turns": turns, "turns_before": before})
            else:
                return len(runs) - index
        return 0

    async def _turns(self, suite: StoredSuite, run: RunReport) -> tuple[Turn, ...]:
        session = await self._sessions.find(suite.organization_id, run.session_id)
        if session is None or session.head is None or session.head.head_turn_id is None:
            return ()
        leaf = session.head.head_turn_id
        found = await self._sessions.turns(run.session_id, leaf_turn_id=leaf, limit=MAX_TURNS)
        return tuple(Turn.model_validate(turn) for turn in found)

    async def _run(self, suite: StoredSuite, run: StoredRun) -> RunReport:
        session = await self._sessions.find(suite.organization_id, run.session_id)
        head = session.head if session else None
        verdict = run.verdict or Verdict(outcome="inconclusive")
        ended = run.ended_at - run.started_at if run.ended_at else None
        return RunReport(
            scenario=run.run.scenario,
            repeat=run.run.repeat,
            seed=suite.suite.seed_of(run.run.scenario, run.run.repeat),
            session_id=run.session_id,
            outcome=run.verdict.outcome if run.verdict else None,
            criteria=tuple(Criterion.model_validate(each) for each in verdict.criteria),
            findings=tuple(Finding.model_validate(each) for each in verdict.findings),
            cut_short=verdict.cut_short,
            error=run.error,
            completion_reason=head.completion_reason if head else None,
            turn_count=run.turns,
            cost=run.cost.total,
            unpriced_models=run.cost.unpriced_models,
            started_at=run.started_at,
            seconds=round(ended.total_seconds(), 3) if ended else None,
            turns_before=run.turns,
            turns=(),
        )

    async def _compared(self, suite: StoredSuite, now: SuiteProgress, baseline: str) -> BaselineReport:
        earlier = await self._suites.find(suite.organization_id, baseline)
        if earlier is None:
            raise not_found("suite", baseline)
        found = compare(_tried(await self._suites.progress(earlier.id)), _tried(now))
        return BaselineReport(
            suite_id=earlier.id,
            suite_name=earlier.suite.name,
            overall=_change(found.overall),
            scenarios=tuple(map(_change, found.scenarios)),
        )


def _tried(standing: SuiteProgress) -> dict[str, RunCounts]:
    return {
        scenario: RunCounts(passed=tally.passed, failed=tally.failed, inconclusive=tally.inconclusive)
        for scenario, tally in standing.tallies.items()
    }


def _change(compared: ScenarioComparison) -> ScenarioChange:
    interval = compared.interval
    return ScenarioChange(
        scenario=compared.scenario,
        change=compared.change,
        rate_before=compared.before.rate if compared.before else None,
        rate_now=compared.now.rate if compared.now else None,
        difference=compared.difference,
        interval=Bounds(low=interval.low, high=interval.high) if interval else None,
    )
