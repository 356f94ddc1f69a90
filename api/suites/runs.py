"""The runs of a suite in pages, without their turns: planned, talking, judged."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from api.schemas.responses import Cost
from api.schemas.suites import Criterion, Finding, RunState, SuiteRun
from domain.suites.suite_state import Run
from domain.suites.verdicts import Outcome, Verdict
from domain.usage import Cost as Spent
from store.billing.money import dollars
from store.database.pagination import Page, moment_and_number_after, number_after, page_of
from store.suites import RunDetails, RunRecord, StoredSuite, SuiteStore

MAX_TEXT_CHARACTERS: Final = 120
"""Characters that a run shows of its last message."""
LATE: Final = timedelta(seconds=5)
"""Records become visible late by less than this: changes are searched from this much before the requested time."""


@dataclass(frozen=True)
class RunFilter:
    """Conditions on the runs of a page; with `updated_after` they are in the order of their records."""

    outcome: Outcome | None = None
    scenario: str | None = None
    updated_after: datetime | None = None


class SuiteRuns:
    """Reads the runs of suites, as they were recorded."""

    def __init__(self, suites: SuiteStore) -> None:
        self._suites = suites

    async def page(self, suite: StoredSuite, chosen: RunFilter, limit: int, cursor: str | None) -> Page[SuiteRun]:
        """A page of the runs. Raises ValueError for an invalid cursor."""
        records = {record.run: record for record in await self._suites.run_records(suite.id)}
        plan = _plan_of(suite)
        places = [place for place, run in enumerate(plan) if _is_chosen(run, records.get(run), chosen)]
        if chosen.updated_after is None:
            after = -1 if cursor is None else number_after(cursor)
            page = page_of([place for place in places if place > after][: limit + 1], limit, lambda place: (place,))
        else:
            keys = sorted((records[plan[place]].updated_at, place) for place in places)
            last = None if cursor is None else moment_and_number_after(cursor)
            left = [key for key in keys if last is None or key > last][: limit + 1]
            found = page_of(left, limit, lambda key: key)
            page = Page(tuple(place for _, place in found.items), found.next_cursor)
        shown = [plan[place] for place in page.items]
        details = await self._suites.run_details(suite.id, [run for run in shown if run in records])
        return Page(tuple(_rendered(suite, run, details.get(run), records.get(run)) for run in shown), page.next_cursor)

    async def known(self, suite: StoredSuite, *, before: datetime | None) -> dict[Run, datetime]:
        """The time of the record of every run that was started, or of those that were recorded before a time."""
        records = await self._suites.run_records(suite.id)
        return {each.run: each.updated_at for each in records if before is None or each.updated_at < before}

    async def changed(self, suite: StoredSuite, known: dict[Run, datetime]) -> list[SuiteRun]:
        """The runs whose record differs from the one in `known`, which is updated."""
        records = {record.run: record for record in await self._suites.run_records(suite.id)}
        new = [run for run, record in records.items() if known.get(run) != record.updated_at]
        known.update({run: records[run].updated_at for run in new})
        details = await self._suites.run_details(suite.id, new)
        return [_rendered(suite, run, details.get(run), records[run]) for run in new]


def _plan_of(suite: StoredSuite) -> list[Run]:
    """The planned runs, by scenario and repeat."""
    return [
        Run(scenario=scenario.id, repeat=repeat)
        for scenario in suite.suite.scenarios
        for repeat in range(1, suite.suite.repeats_of(scenario) + 1)
    ]


def _is_chosen(run: Run, record: RunRecord | None, chosen: RunFilter) -> bool:
    if chosen.scenario is not None and run.scenario != chosen.scenario:
        return False
    if chosen.outcome is not None and (record is None or record.outcome != chosen.outcome):
        return False
    return chosen.updated_after is None or (record is not None and record.updated_at > chosen.updated_after - LATE)


def _rendered(suite: StoredSuite, run: Run, details: RunDetails | None, record: RunRecord | None) -> SuiteRun:
    stored = details.run if details else None
    head = details.head if details else None
    newest = details.newest_turn if details else None
    verdict = (stored.verdict if stored else None) or Verdict(outcome="inconclusive")
    ended = stored.ended_at - stored.started_at if stored and stored.ended_at else None
    said = (newest.assistant_message or newest.user_message) if newest else None
    return SuiteRun(
        scenario=run.scenario,
        repeat=run.repeat,
        seed=suite.suite.seed_of(run.scenario, run.repeat),
        session_id=stored.session_id if stored else None,
        state=_state_of(details),
        outcome=verdict.outcome if stored and stored.verdict else None,
        criteria=tuple(Criterion.model_validate(each) for each in verdict.criteria),
        findings=tuple(Finding.model_validate(each) for each in verdict.findings),
        cut_short=verdict.cut_short,
        completion_reason=head.completion_reason if head else None,
        error=stored.error if stored else None,
        turn_count=stored.turns if stored and stored.verdict else newest.index + 1 if newest else 0,
        last_said=said.text[:MAX_TEXT_CHARACTERS] if said else None,
        cost=Cost.model_validate(details.cost if details else Spent()),
        cost_by_purpose={purpose: dollars(spent) for purpose, spent in details.picodollars.items()} if details else {},
        started_at=stored.started_at if stored else None,
        seconds=round(ended.total_seconds(), 3) if ended else None,
        updated_at=record.updated_at if record else suite.created_at,
    )


def _state_of(details: RunDetails | None) -> RunState:
    if details is None:
        return "waiting"
    if details.run.verdict is not None:
        return "done"
    return "judging" if details.head is not None and details.head.is_completed else "talking"
