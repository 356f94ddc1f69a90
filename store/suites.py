"""Test suites and their runs: definitions, progress and results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, Row, bindparam, case, func, literal, select, tuple_, update

from contracts.suites import BeginRunInput, NoteSuiteInput, RecordRunInput, RunPrice
from domain.sessions.timeline import Purpose
from domain.sessions.views import SessionHead
from domain.suites.scenario import Suite
from domain.suites.suite_state import Run, SuiteStatus, Tally, outcome_of
from domain.suites.verdicts import Outcome, Verdict, inconclusive_verdicts, verdict_of
from domain.turns.engine import ModelReply
from domain.turns.turn import Turn
from domain.usage import Cost, merge_costs
from store.billing.money import dollars, picodollars
from store.database.column_types import Number, UtcDateTime
from store.database.connection import Database
from store.database.pagination import Page, moment_and_number_after, page_of
from store.database.tables import ledger, runs, sessions, steps, suites, turns
from store.database.upsert import insert_new
from store.sessions.erasure import SessionErased, require_not_erased
from store.sessions.forks import copy_turns
from store.sessions.sessions import MAX_CREATE_ATTEMPTS, agent_id_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSuite:
    """A suite before its workflow starts, with the pinned version of the agent."""

    id: str
    organization_id: str
    agent_id: str
    agent_version: int
    agent_name: str
    suite: Suite
    planned: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSuite(NewSuite):
    """A suite in its last recorded state. `outcome` is None until it is over."""

    number: int
    status: SuiteStatus
    outcome: Outcome | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One conversation of a suite. `verdict` is None while it is running."""

    run: Run
    session_id: str
    verdict: Verdict | None
    error: str | None
    turns: int
    cost: Cost
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that was started, in short. `updated_at` is the time of the last record of it or of its session."""

    run: Run
    outcome: Outcome | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A run with its session as last recorded: its head, its newest visible turn, and its cost by purpose.

    `cost` is that of the ledger so far where the run has no verdict yet.
    """

    run: StoredRun
    head: SessionHead | None
    newest_turn: Turn | None
    cost: Cost
    picodollars: dict[Purpose, int]


@dataclass(frozen=True, slots=True)
class SuiteProgress:
    """Progress of a suite by its runs, and its closed turns and cost so far by its ledger rows.

    `held` is reserved of the budget for runs in progress, beyond what they have cost so far.
    """

    running: int
    tallies: dict[str, Tally]
    turns: int
    cost: Decimal
    held: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class RecordedPast:
    """The recorded past that a run continues: the turns of a session, oldest first, and its initial context."""

    session_id: str
    turns: tuple[Turn, ...]
    initial_context: dict[str, JsonValue]


_BY_ID = select(suites).where(
    suites.c.id == bindparam("suite_id"), suites.c.organization_id == bindparam("organization_id")
)
_COUNTS = (
    select(runs.c.scenario, runs.c.outcome, func.count())
    .where(runs.c.suite_id == bindparam("suite_id"))
    .group_by(runs.c.scenario, runs.c.outcome)
)
_IS_TURN = ledger.c.purpose == "turn"
_SPENT = select(
    func.count().filter(_IS_TURN).label("turns"), func.coalesce(func.sum(ledger.c.picodollars), 0).label("spent")
).where(ledger.c.suite_id == bindparam("suite_id"))
_HELD = (
    select(runs.c.held_picodollars, func.coalesce(func.sum(ledger.c.picodollars), 0).label("spent"))
    .outerjoin(ledger, ledger.c.session_id == runs.c.session_id)
    .where(runs.c.suite_id == bindparam("suite_id"), runs.c.outcome.is_(None), runs.c.held_picodollars > 0)
    .group_by(runs.c.session_id, runs.c.held_picodollars)
)
_RUNS = (
    select(runs)
    .where(runs.c.suite_id == bindparam("suite_id"))
    .order_by(runs.c.repeat, runs.c.started_at, runs.c.scenario)
)
_IMPORTANCE = case((runs.c.outcome == "failed", 0), (runs.c.outcome == "passed", 2), else_=1)
_IMPORTANT_RUNS = (
    select(runs)
    .where(runs.c.suite_id == bindparam("suite_id"))
    .order_by(_IMPORTANCE, runs.c.repeat, runs.c.started_at, runs.c.scenario)
    .limit(bindparam("limit"))
    .offset(bindparam("offset"))
)
_RUN_RECORDS = (
    select(runs.c.scenario, runs.c.repeat, runs.c.outcome, runs.c.started_at, runs.c.ended_at, sessions.c.recorded_at)
    .outerjoin(sessions, sessions.c.id == runs.c.session_id)
    .where(runs.c.suite_id == bindparam("suite_id"))
)
_SPENT_BY_PURPOSE = (
    select(ledger.c.session_id, ledger.c.purpose, func.sum(ledger.c.picodollars))
    .where(ledger.c.session_id.in_(bindparam("session_ids", expanding=True)))
    .group_by(ledger.c.session_id, ledger.c.purpose)
    .order_by(ledger.c.session_id, ledger.c.purpose)
)
_LEDGER_COSTS = select(ledger.c.session_id, ledger.c.cost).where(
    ledger.c.session_id.in_(bindparam("session_ids", expanding=True))
)
_HEADS = select(sessions.c.id, sessions.c.head).where(
    sessions.c.id.in_(bindparam("session_ids", expanding=True)), sessions.c.head.is_not(None)
)
# Turns that a fork shares with its source began before the fork did, and are paid for by the source.
_SHARED = (
    select(turns.c.id)
    .where(
        turns.c.session_id == steps.c.session_id,
        turns.c.id == steps.c.turn_id,
        turns.c.created_at < sessions.c.created_at,
    )
    .correlate(steps, sessions)
)
_REPLIES = (
    select(steps.c.turn_id, steps.c.node_id, steps.c.reply)
    .join(sessions, sessions.c.id == steps.c.session_id)
    .where(steps.c.session_id == bindparam("session_id"), ~_SHARED.exists())
)
_TURNS = select(func.count()).select_from(turns).where(turns.c.session_id == bindparam("session_id"))
_RECORD = (
    update(runs)
    .where(
        runs.c.suite_id == bindparam("of_suite"),
        runs.c.scenario == bindparam("of_scenario"),
        runs.c.repeat == bindparam("of_repeat"),
        runs.c.outcome.is_(None),
    )
    .values(
        outcome=bindparam("new_outcome"),
        verdict=bindparam("new_verdict"),
        error=bindparam("new_error"),
        turns=bindparam("new_turns"),
        cost=bindparam("new_cost"),
        ended_at=bindparam("new_ended_at"),
    )
)
_LOCKED = select(suites).where(suites.c.id == bindparam("suite_id")).with_for_update()
_UNFINISHED = (
    select(runs)
    .where(runs.c.suite_id == bindparam("suite_id"), runs.c.outcome.is_(None))
    .order_by(runs.c.scenario, runs.c.repeat)
)
_SET_STATUS = (
    update(suites)
    .where(
        suites.c.id == bindparam("of_suite"), suites.c.updated_at <= bindparam("new_updated_at", type_=UtcDateTime())
    )
    .values(
        status=bindparam("new_status"),
        outcome=bindparam("new_outcome"),
        updated_at=bindparam("new_updated_at", type_=UtcDateTime()),
    )
)


class SuiteStore:
    """Stores suites and their runs. Suite workflows write, idempotently; all others read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_suite = insert_new(database, suites, key=["id"])
        self._insert_session = insert_new(database, sessions, key=["id"]).returning(sessions.c.id)
        self._insert_run = insert_new(database, runs, key=["suite_id", "scenario", "repeat"])

    async def create(self, suite: NewSuite) -> StoredSuite:
        """Store a suite before its workflow starts. An existing suite with this id stays as it is."""
        key = {"suite_id": suite.id, "organization_id": suite.organization_id}

        def work(connection: Connection) -> StoredSuite | None:
            connection.execute(self._insert_suite, _suite_values(suite))
            row = connection.execute(_BY_ID, key).one_or_none()
            return _suite(row) if row is not None else None

        for _ in range(MAX_CREATE_ATTEMPTS):
            created = await self._database.write(work)
            if created is not None:
                return created
        raise LookupError(f"suite {suite.id} was removed while it was created")

    async def discard_unstarted(self, suite_id: str) -> None:
        """Delete a suite whose workflow could not be started."""
        statement = suites.delete().where(suites.c.id == suite_id)
        await self._database.write(lambda connection: connection.execute(statement).close(), autocommit=True)

    async def find(self, organization_id: str, suite_id: str) -> StoredSuite | None:
        """The organization's suite with this id."""
        key = {"organization_id": organization_id, "suite_id": suite_id}
        row = await self._database.read(lambda connection: connection.execute(_BY_ID, key).one_or_none())
        return _suite(row) if row is not None else None

    async def list(
        self,
        organization_id: str,
        *,
        agent: str | None = None,
        agent_version: int | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[StoredSuite]:
        """The organization's suites, newest first. `agent` is an id or a name.

        Raises ValueError for an invalid cursor.
        """
        newest_first = (suites.c.created_at, suites.c.number)
        statement = select(suites).where(suites.c.organization_id == organization_id)
        if agent is not None:
            statement = statement.where(suites.c.agent_id == agent_id_of(organization_id, agent))
        if agent_version is not None:
            statement = statement.where(suites.c.agent_version == agent_version)
        if cursor is not None:
            moment, number = moment_and_number_after(cursor)
            older = tuple_(literal(moment, UtcDateTime()), literal(number, Number))
            statement = statement.where(tuple_(*newest_first) < older)
        statement = statement.order_by(*(column.desc() for column in newest_first)).limit(limit + 1)

        def work(connection: Connection) -> list[StoredSuite]:
            return [_suite(row) for row in connection.execute(statement)]

        found = await self._database.read(work)
        return page_of(found, limit, lambda suite: (suite.created_at, suite.number))

    async def progress(self, suite_id: str) -> SuiteProgress:
        """Progress and cost of a suite so far."""
        key = {"suite_id": suite_id}

        def work(connection: Connection) -> SuiteProgress:
            spent = connection.execute(_SPENT, key).one()
            progress = _progress(connection.execute(_COUNTS, key).all(), int(spent.turns), dollars(int(spent.spent)))
            left = (max(0, row.held_picodollars - int(row.spent)) for row in connection.execute(_HELD, key))
            return replace(progress, held=dollars(sum(left)))

        return await self._database.read(work)

    async def runs(self, suite_id: str) -> Sequence[StoredRun]:
        """Every run that was started, by repeat and then by start time."""
        rows = await self._database.read(lambda connection: connection.execute(_RUNS, {"suite_id": suite_id}).all())
        return [_run(row) for row in rows]

    async def important_runs(self, suite_id: str, *, limit: int, offset: int) -> Sequence[StoredRun]:
        """Runs that were started: failed ones first and passed ones last, each by repeat and then by start time."""
        key = {"suite_id": suite_id, "limit": limit, "offset": offset}
        rows = await self._database.read(lambda connection: connection.execute(_IMPORTANT_RUNS, key).all())
        return [_run(row) for row in rows]

    async def run_records(self, suite_id: str) -> Sequence[RunRecord]:
        """Every run that was started, in short, in no order and without pages."""
        rows = await self._database.read(
            lambda connection: connection.execute(_RUN_RECORDS, {"suite_id": suite_id}).all()
        )
        return [
            RunRecord(
                run=Run(scenario=row.scenario, repeat=row.repeat),
                outcome=row.outcome,
                updated_at=max(at for at in (row.started_at, row.ended_at, row.recorded_at) if at is not None),
            )
            for row in rows
        ]

    async def run_details(self, suite_id: str, wanted: Sequence[Run]) -> dict[Run, RunDetails]:
        """The runs of a suite with what is recorded of their sessions. Runs that were not started are left out."""
        if not wanted:
            return {}
        keys = [(run.scenario, run.repeat) for run in wanted]
        statement = select(runs).where(runs.c.suite_id == suite_id, tuple_(runs.c.scenario, runs.c.repeat).in_(keys))

        def work(connection: Connection) -> dict[Run, RunDetails]:
            found = [_run(row) for row in connection.execute(statement)]
            return _with_sessions(connection, found)

        return await self._database.read(work)

    async def begin_run(self, begun: BeginRunInput, past: RecordedPast | None = None) -> bool:
        """Store a run and its session, with its past if there is one, unless they are stored already.

        Returns False when the session was erased: then nothing is stored, and the session must not be started again.
        """

        def work(connection: Connection) -> None:
            values = _session_values(begun, past)
            is_new = connection.execute(self._insert_session, values).scalar_one_or_none() is not None
            require_not_erased(connection, begun.session_id)
            if is_new and past is not None:
                copy_turns(connection, begun.session_id, past.session_id, past.turns)
            connection.execute(self._insert_run, _run_values(begun))

        try:
            await self._database.write(work)
        except SessionErased:
            return False
        return True

    async def record_run(self, done: RecordRunInput) -> RunPrice:
        """Record the result of a run, unless it is recorded already; returns the cost of the run."""

        def work(connection: Connection) -> RunPrice:
            calls = _paid_calls(connection, done.session_id)
            values = {
                "of_suite": done.suite_id,
                "of_scenario": done.run.scenario,
                "of_repeat": done.run.repeat,
                "new_outcome": done.verdict.outcome,
                "new_verdict": done.verdict.model_dump_json(),
                "new_error": done.error,
                "new_turns": connection.execute(_TURNS, {"session_id": done.session_id}).scalar_one(),
                "new_cost": merge_costs(each.cost for each in calls).model_dump_json(),
                "new_ended_at": done.at,
            }
            connection.execute(_RECORD, values)
            return _run_price(calls)

        return await self._database.write(work)

    async def run_price(self, session_id: str) -> RunPrice:
        """The cost of a run so far by the saved steps of its session, including those not settled yet."""
        return await self._database.read(lambda connection: _run_price(_paid_calls(connection, session_id)))

    async def record_status(self, suite: NoteSuiteInput) -> None:
        """Record the status of a suite, unless a newer one is recorded."""
        values = {
            "of_suite": suite.suite_id,
            "new_status": suite.status,
            "new_outcome": suite.outcome,
            "new_updated_at": suite.at,
        }
        await self._database.write(lambda connection: connection.execute(_SET_STATUS, values).close(), autocommit=True)

    async def close(self, suite_id: str, why: str, at: datetime) -> bool:
        """Record the end of a suite whose workflow is over: `cancelled`, with its unfinished runs inconclusive.

        `why` is the error of those runs. Returns False when the suite has an outcome already.
        """

        def work(connection: Connection) -> bool:
            row = connection.execute(_LOCKED, {"suite_id": suite_id}).one_or_none()
            if row is None or row.outcome is not None:
                return False
            suite = Suite.model_validate_json(row.definition)
            for run in connection.execute(_UNFINISHED, {"suite_id": suite_id}).all():
                connection.execute(_RECORD, _unfinished_values(connection, suite, run, why, at))
            tallies = _progress(connection.execute(_COUNTS, {"suite_id": suite_id}).all(), 0, Decimal(0)).tallies
            values = {
                "of_suite": suite_id,
                "new_status": "cancelled",
                "new_outcome": outcome_of(suite, tallies),
                "new_updated_at": max(at, row.updated_at),
            }
            connection.execute(_SET_STATUS, values).close()
            return True

        return await self._database.write(work)


def _with_sessions(connection: Connection, found: Sequence[StoredRun]) -> dict[Run, RunDetails]:
    key = {"session_ids": [each.session_id for each in found]}
    heads = {row.id: SessionHead.model_validate_json(row.head) for row in connection.execute(_HEADS, key)}
    newest = [(session_id, head.head_turn_id) for session_id, head in heads.items() if head.head_turn_id]
    documents = select(turns.c.session_id, turns.c.document).where(tuple_(turns.c.session_id, turns.c.id).in_(newest))
    newest_turns = {row.session_id: Turn.model_validate_json(row.document) for row in connection.execute(documents)}
    by_purpose: dict[str, dict[Purpose, int]] = {}
    for session_id, purpose, amount in connection.execute(_SPENT_BY_PURPOSE, key):
        by_purpose.setdefault(session_id, {})[purpose] = int(amount)
    open_runs = {"session_ids": [each.session_id for each in found if each.verdict is None]}
    costs: dict[str, list[Cost]] = {}
    for session_id, cost in connection.execute(_LEDGER_COSTS, open_runs):
        costs.setdefault(session_id, []).append(Cost.model_validate(cost))
    return {
        each.run: RunDetails(
            run=each,
            head=heads.get(each.session_id),
            newest_turn=newest_turns.get(each.session_id),
            cost=each.cost if each.verdict else merge_costs(costs.get(each.session_id, ())),
            picodollars=by_purpose.get(each.session_id, {}),
        )
        for each in found
    }


@dataclass(frozen=True, slots=True)
class _PaidCalls:
    """The paid calls under one id: the steps of a turn, of a simulated user's message or of a verdict."""

    node_id: str
    cost: Cost


def _paid_calls(connection: Connection, session_id: str) -> list[_PaidCalls]:
    found: dict[str, _PaidCalls] = {}
    for turn_id, node_id, reply in connection.execute(_REPLIES, {"session_id": session_id}):
        cost = ModelReply.model_validate_json(reply).cost
        before = found.get(turn_id)
        found[turn_id] = _PaidCalls(node_id, merge_costs([before.cost, cost]) if before else cost)
    return list(found.values())


def _run_price(calls: Sequence[_PaidCalls]) -> RunPrice:
    """The total cost, and the largest cost of one exchange.

    An exchange is the most expensive simulated user's message plus the most expensive reply, or the judge's call.
    """
    largest = {kind: Decimal(0) for kind in ("caller", "judge", "reply")}
    for each in calls:
        kind = each.node_id if each.node_id in largest else "reply"
        largest[kind] = max(largest[kind], each.cost.total)
    return RunPrice(
        cost=merge_costs(each.cost for each in calls).total,
        largest_call=max(largest["caller"] + largest["reply"], largest["judge"]) if calls else None,
    )


def _progress(counts: Sequence[Row[str, Outcome | None, int]], closed_turns: int, spent: Decimal) -> SuiteProgress:
    running = 0
    tallies: dict[str, Tally] = {}
    for scenario, outcome, number in counts:
        tally = tallies.get(scenario, Tally())
        tallies[scenario] = tally if outcome is None else tally.model_copy(update={outcome: number})
        running += number if outcome is None else 0
    return SuiteProgress(running=running, tallies=tallies, turns=closed_turns, cost=spent)


def _unfinished_values(
    connection: Connection, suite: Suite, run: Row[*tuple[Any, ...]], why: str, at: datetime
) -> dict[str, Any]:
    """The record of a run that will not be judged."""
    scenario = next((each for each in suite.scenarios if each.id == run.scenario), None)
    criteria = inconclusive_verdicts(scenario.success if scenario else (), why)
    return {
        "of_suite": run.suite_id,
        "of_scenario": run.scenario,
        "of_repeat": run.repeat,
        "new_outcome": "inconclusive",
        "new_verdict": verdict_of(criteria, (), why).model_dump_json(),
        "new_error": why,
        "new_turns": connection.execute(_TURNS, {"session_id": run.session_id}).scalar_one(),
        "new_cost": merge_costs(each.cost for each in _paid_calls(connection, run.session_id)).model_dump_json(),
        "new_ended_at": at,
    }


def _suite_values(suite: NewSuite) -> dict[str, Any]:
    budget = suite.suite.budget_usd
    return {
        "id": suite.id,
        "organization_id": suite.organization_id,
        "agent_id": suite.agent_id,
        "agent_version": suite.agent_version,
        "agent_name": suite.agent_name,
        "name": suite.suite.name,
        "definition": suite.suite.model_dump_json(),
        "planned": suite.planned,
        "seed": suite.suite.seed,
        "budget_picodollars": None if budget is None else picodollars(budget),
        "status": "running",
        "outcome": None,
        "created_at": suite.created_at,
        "updated_at": suite.created_at,
    }


def _suite(row: Row[Any]) -> StoredSuite:
    return StoredSuite(
        id=row.id,
        organization_id=row.organization_id,
        agent_id=row.agent_id,
        agent_version=row.agent_version,
        agent_name=row.agent_name,
        suite=Suite.model_validate_json(row.definition),
        planned=row.planned,
        created_at=row.created_at,
        number=row.number,
        status=row.status,
        outcome=row.outcome,
        updated_at=row.updated_at,
    )


def _session_values(begun: BeginRunInput, past: RecordedPast | None) -> dict[str, Any]:
    return {
        "id": begun.session_id,
        "organization_id": begun.organization_id,
        "agent_id": begun.agent.id,
        "agent_version": begun.agent.version,
        "agent_name": begun.agent_name,
        "agent_number": begun.agent_number,
        "name": begun.name,
        "model": begun.model,
        "initial_context": past.initial_context if past else begun.initial_context,
        "annotations": {"suite": begun.suite_id, "scenario": begun.run.scenario, "repeat": begun.run.repeat},
        "simulator": begun.simulator,
        "suite_id": begun.suite_id,
        "forked_from": past.session_id if past else None,
        "created_at": begun.at,
        "event_count": 0,
    }


def _run_values(begun: BeginRunInput) -> dict[str, Any]:
    return {
        "suite_id": begun.suite_id,
        "scenario": begun.run.scenario,
        "repeat": begun.run.repeat,
        "session_id": begun.session_id,
        "turns": 0,
        "held_picodollars": picodollars(begun.held),
        "started_at": begun.at,
    }


def _run(row: Row[Any]) -> StoredRun:
    return StoredRun(
        run=Run(scenario=row.scenario, repeat=row.repeat),
        session_id=row.session_id,
        verdict=Verdict.model_validate_json(row.verdict) if row.verdict is not None else None,
        error=row.error,
        turns=row.turns,
        cost=Cost.model_validate_json(row.cost) if row.cost is not None else Cost(),
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
