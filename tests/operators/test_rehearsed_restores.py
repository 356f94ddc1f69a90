"""The runbook for restores, rehearsed: nobody says anything afterwards, and the witnesses agree all the same."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from playhead.services.reconciliation import STRANGE_STORE, STRANGE_TEMPORAL
from tests.e2e.processes import until_seen
from tests.operators.operator_stack import Json, OperatedStack, copied, operated_stack, restored, texts
from tests.support.loop_thread import LoopThread
from tests.support.postgres import Postgres
from tests.support.provider import ModelProvider

pytestmark = pytest.mark.timeout(900)
"""A rehearsal starts a stack three or four times."""


class Rehearsal:
    """A stack that is stopped, backed up, started again and set back, with the store on either database."""

    def __init__(
        self, folder: Path, provider: ModelProvider, loop: LoopThread, postgres: Postgres | None, interval: str
    ) -> None:
        self._folder = folder
        self._provider = provider
        self._loop = loop
        self._postgres = postgres
        self._interval = interval
        self._url = postgres.new_database() if postgres else None
        self._backups: dict[str, str | None] = {}

    @contextmanager
    def running(self) -> Iterator[OperatedStack]:
        """The stack while the block runs; then it is stopped as an operator stops it."""
        with operated_stack(
            self._folder,
            self._provider,
            self._loop,
            database_url=self._url,
            PLAYHEAD_RECONCILE_INTERVAL_SECONDS=self._interval,
        ) as operated:
            yield operated
            assert operated.stack.told(signal.SIGTERM) == 0

    def back_up_store(self) -> None:
        if self._postgres is None:
            copied(self._folder, "playhead.db", self._folder / "backup")
        else:
            self._backups["store"] = self._postgres.new_database(self._url)

    def back_up_temporal(self) -> None:
        copied(self._folder, "temporal.db", self._folder / "backup")

    def restore_store(self) -> None:
        if self._postgres is None:
            restored(self._folder / "backup", "playhead.db", self._folder)
        else:
            self._url = self._backups["store"]

    def restore_temporal(self) -> None:
        restored(self._folder / "backup", "temporal.db", self._folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rehearsal(
    kind: str,
    tmp_path: Path,
    journaling_provider: ModelProvider,
    loop: LoopThread,
    request: pytest.FixtureRequest,
) -> Rehearsal:
    """A rehearsal in which only the operator's command reconciles."""
    postgres = request.getfixturevalue("postgres") if kind == "postgresql" else None
    return Rehearsal(tmp_path, journaling_provider, loop, postgres, "0")


def of_session(result: Json, session_id: str) -> Json:
    """What a reconciliation says of one session."""
    [found] = [each for each in result["findings"] if each["id"] == session_id]
    return {name: found.get(name) for name in ("found", "done", "turns_in_store", "turns_in_temporal")}


def said_two(operated: OperatedStack, session_id: str) -> Json:
    """The session, recorded, after two more turns."""
    operated.say(session_id, "On Friday")
    operated.say(session_id, "At eight")
    return operated.until_agreed(session_id, 4)


def agrees(operated: OperatedStack) -> None:
    """Nothing is left to reconcile."""
    status, result = operated.reconcile()
    assert (status, result["findings"]) == (0, [])
    assert result["turns_in_store"] == result["turns_in_temporal"] > 0


def test_a_store_that_is_older_by_two_turns_gets_them_back_from_temporal(rehearsal: Rehearsal) -> None:
    with rehearsal.running() as operated:
        session_id = operated.create()
        operated.say(session_id, "A table, please")
        operated.until_agreed(session_id, 2)
    rehearsal.back_up_store()
    with rehearsal.running() as operated:
        complete = said_two(operated, session_id)
    rehearsal.restore_store()
    with rehearsal.running() as operated:
        apart = {"found": "store_behind", "turns_in_store": 2, "turns_in_temporal": 4}
        status, looked = operated.reconcile("--dry-run")
        assert (status, of_session(looked, session_id)) == (1, {**apart, "done": "left"})
        status, mended = operated.reconcile()
        assert (status, of_session(mended, session_id)) == (0, {**apart, "done": "compared"})
        after = operated.compare(session_id)
        assert [turn["id"] for turn in after["turns"]] == [turn["id"] for turn in complete["turns"]]
        agrees(operated)


def test_turns_that_an_older_temporal_lost_become_a_discarded_branch(rehearsal: Rehearsal) -> None:
    with rehearsal.running() as operated:
        session_id = operated.create()
        operated.say(session_id, "A table, please")
        operated.until_agreed(session_id, 2)
    rehearsal.back_up_temporal()
    with rehearsal.running() as operated:
        complete = said_two(operated, session_id)
    rehearsal.restore_temporal()
    with rehearsal.running() as operated:
        status, mended = operated.reconcile()
        found = of_session(mended, session_id)
        assert (status, found["found"], found["done"]) == (0, "temporal_behind", "compared")
        assert (found["turns_in_store"], found["turns_in_temporal"]) == (4, 2)
        after = operated.compare(session_id, all_in_temporal=False)
        assert texts(after) == [None, "A table, please"]
        kept = [turn["id"] for branch in after["discarded_branches"] for turn in branch["turns"]]
        assert kept == [turn["id"] for turn in complete["turns"][2:]]
        assert after["revision"] > complete["revision"]
        agrees(operated)


def test_what_neither_backup_has_is_lost_and_the_rest_agrees(rehearsal: Rehearsal) -> None:
    """The store is older by two turns, Temporal by one: the turn in between comes back, the newest is in neither."""
    with rehearsal.running() as operated:
        session_id = operated.create()
        operated.say(session_id, "A table, please")
        operated.until_agreed(session_id, 2)
    rehearsal.back_up_store()
    with rehearsal.running() as operated:
        operated.say(session_id, "On Friday")
        operated.until_agreed(session_id, 3)
    rehearsal.back_up_temporal()
    with rehearsal.running() as operated:
        operated.say(session_id, "At eight")
        operated.until_agreed(session_id, 4)
    rehearsal.restore_store()
    rehearsal.restore_temporal()
    with rehearsal.running() as operated:
        status, mended = operated.reconcile()
        found = of_session(mended, session_id)
        assert (status, found["found"], found["done"]) == (0, "store_behind", "compared")
        after = operated.compare(session_id, lost=1)
        assert texts(after) == [None, "A table, please", "On Friday"]
        agrees(operated)
        assert texts(operated.say(session_id, "At nine"))[-1] == "At nine"
        operated.compare(session_id, lost=1)


def test_the_schedule_mends_a_restored_store_when_its_worker_starts(
    tmp_path: Path, journaling_provider: ModelProvider, loop: LoopThread
) -> None:
    """The runs of the schedule are counted in both databases, which shows that one of them was set back."""
    rehearsal = Rehearsal(tmp_path, journaling_provider, loop, None, "300")
    with rehearsal.running() as operated:
        session_id = operated.create()
        operated.say(session_id, "A table, please")
        operated.until_agreed(session_id, 2)
    rehearsal.back_up_store()
    with rehearsal.running() as operated:
        complete = said_two(operated, session_id)
    rehearsal.restore_store()
    with rehearsal.running() as operated:
        after = operated.compare(session_id)
        assert [turn["id"] for turn in after["turns"]] == [turn["id"] for turn in complete["turns"]]
        agrees(operated)


def test_databases_that_do_not_belong_together_are_named_at_the_start(
    tmp_path: Path, journaling_provider: ModelProvider, loop: LoopThread
) -> None:
    rehearsal = Rehearsal(tmp_path, journaling_provider, loop, None, "0")
    with rehearsal.running() as operated:
        session_id = operated.create()
        operated.say(session_id, "A table, please")
        operated.until_agreed(session_id, 2)
    copied(tmp_path, "playhead.db", tmp_path / "backup")
    restored(tmp_path / "nothing", "playhead.db", tmp_path)
    with rehearsal.running() as operated:
        until_seen(lambda: STRANGE_TEMPORAL in operated.stack.log, lambda: operated.stack.log)
    restored(tmp_path / "backup", "playhead.db", tmp_path)
    restored(tmp_path / "nothing", "temporal.db", tmp_path)
    with rehearsal.running() as operated:
        until_seen(lambda: STRANGE_STORE in operated.stack.log, lambda: operated.stack.log)
        status, rejected = operated.reconcile()
        assert (status, rejected["findings"]) == (1, [])
        assert "--accept-new-temporal" in rejected["rejection"]
        assert not operated.session(session_id)["is_completed"]
        status, accepted = operated.reconcile("--accept-new-temporal")
        assert (status, of_session(accepted, session_id)["found"]) == (0, "workflow_not_found")
        ended = operated.session(session_id)
        assert (ended["status"], ended["completion_reason"]) == ("completed", "workflow_not_found")
        assert operated.requests_billed(session_id) == len(operated.model_of(session_id).journal) == 2
