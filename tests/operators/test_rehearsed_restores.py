"""The runbook for restores, rehearsed: either database or both are set back, and the witnesses still agree."""

from pathlib import Path

import pytest

from playhead.services.reconciliation import STORE_OF_ANOTHER_TEMPORAL, TEMPORAL_OF_ANOTHER_STORE
from tests.e2e.processes import until_seen
from tests.operators.backups import DAILY, SAID, Backups
from tests.operators.operator_stack import Json, OperatedStack, texts
from tests.support.loop_thread import LoopThread
from tests.support.provider import ModelProvider

IDLE = "no message afterwards"
BOTH, AFTER_STORE, AFTER_TEMPORAL = "after both", "after the store", "after Temporal"
WITH_STORE, WITH_TEMPORAL = "while the store is mended", "while Temporal is mended"
SAME_WORDS = "asked the same on another day"
SESSIONS = (IDLE, BOTH, AFTER_STORE, AFTER_TEMPORAL, WITH_STORE, WITH_TEMPORAL, SAME_WORDS)
"""One that only the reconciler touches, and those that go on after one database, or both, were set back."""
NEXT = "For four people"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def backups(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    journaling_provider: ModelProvider,
    loop: LoopThread,
) -> Backups:
    """Backups of one stack for all tests."""
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    return Backups(tmp_path_factory.mktemp("backed-up"), journaling_provider, loop, postgres, SESSIONS)


on_sqlite = pytest.mark.parametrize("backups", ["sqlite"], indirect=True)


def of_session(result: Json, session_id: str) -> Json:
    """The finding of a reconciliation about one session."""
    [found] = [each for each in result["findings"] if each["id"] == session_id]
    return {name: found.get(name) for name in ("found", "done", "turns_in_store", "turns_in_temporal")}


def agrees(operated: OperatedStack) -> None:
    """Check that nothing is left to reconcile."""
    status, result = operated.reconcile()
    assert (status, result["findings"]) == (0, [])
    assert result["turns_in_store"] == result["turns_in_temporal"] > 0


def ids(session: Json) -> list[str]:
    """The turns on the visible branch."""
    return [turn["id"] for turn in session["turns"]]


def discarded(session: Json) -> list[str]:
    """The turns of all discarded branches."""
    return [turn["id"] for branch in session["discarded_branches"] for turn in branch["turns"]]


def goes_on(operated: OperatedStack, session_id: str, complete: Json, *, is_in_temporal: bool) -> None:
    """Send the session another message, and check that it still has every turn, also those that were set back."""
    after = operated.say(session_id, NEXT)
    agreed = operated.until_agreed(session_id, 5)
    if is_in_temporal:
        assert texts(after) == [*texts(complete), NEXT]
    else:
        assert texts(after) == [None, SAID[0], NEXT]
        assert discarded(agreed) == ids(complete)[2:]
        assert agreed["revision"] > complete["revision"]
    operated.compare(session_id, all_in_temporal=is_in_temporal)


def is_discarded(operated: OperatedStack, session_id: str, complete: Json) -> None:
    """Check that the turns that Temporal lost are a discarded branch of the session."""
    after = operated.compare(session_id, all_in_temporal=False)
    assert texts(after) == [None, SAID[0]]
    assert discarded(after) == ids(complete)[2:]
    assert after["revision"] > complete["revision"]


def test_a_store_that_is_older_by_two_turns_gets_them_back_from_temporal(backups: Backups, tmp_path: Path) -> None:
    with backups.restored(tmp_path, store=1, temporal=3) as operated:
        goes_on(operated, backups.sessions[AFTER_STORE], backups.complete[AFTER_STORE], is_in_temporal=True)
        session_id = backups.sessions[IDLE]
        apart = {"found": "store_behind", "turns_in_store": 2, "turns_in_temporal": 4}
        status, looked = operated.reconcile("--dry-run")
        assert (status, of_session(looked, session_id)) == (1, {**apart, "done": "left"})
        status, mended = operated.reconcile()
        assert (status, of_session(mended, session_id)) == (0, {**apart, "done": "compared"})
        assert ids(operated.compare(session_id)) == ids(backups.complete[IDLE])
        agrees(operated)


def test_turns_that_an_older_temporal_lost_become_a_discarded_branch(backups: Backups, tmp_path: Path) -> None:
    with backups.restored(tmp_path, store=3, temporal=1) as operated:
        goes_on(operated, backups.sessions[AFTER_TEMPORAL], backups.complete[AFTER_TEMPORAL], is_in_temporal=False)
        session_id = backups.sessions[SAME_WORDS]
        operated.say_on("Thursday", session_id, SAID[1])
        assert "It is Thursday." in str(operated.model_of(session_id).journal[-1].body)
        operated.compare(session_id, all_in_temporal=False)
        session_id = backups.sessions[IDLE]
        status, mended = operated.reconcile()
        apart = {"found": "temporal_behind", "turns_in_store": 4, "turns_in_temporal": 2}
        assert (status, of_session(mended, session_id)) == (0, {**apart, "done": "compared"})
        is_discarded(operated, session_id, backups.complete[IDLE])
        agrees(operated)


def test_a_turn_in_neither_backup_is_lost_and_the_rest_agrees(backups: Backups, tmp_path: Path) -> None:
    """The store is older by two turns, Temporal by one: the turn in between comes back, the newest is in neither."""
    with backups.restored(tmp_path, store=1, temporal=2) as operated:
        session_id = backups.sessions[BOTH]
        status, mended = operated.reconcile()
        found = of_session(mended, session_id)
        assert (status, found["found"], found["done"]) == (0, "store_behind", "compared")
        after = operated.compare(session_id, lost=1)
        assert texts(after) == [None, *SAID[:2]]
        agrees(operated)
        assert texts(operated.say(session_id, "At nine"))[-1] == "At nine"
        operated.compare(session_id, lost=1)


@on_sqlite
def test_the_schedule_mends_a_restored_store_when_its_worker_starts(backups: Backups, tmp_path: Path) -> None:
    """The runs of the schedule are counted in both databases, which shows that one of them was set back."""
    with backups.restored(tmp_path, store=1, temporal=3, interval=DAILY) as operated:
        goes_on(operated, backups.sessions[WITH_STORE], backups.complete[WITH_STORE], is_in_temporal=True)
        assert ids(operated.compare(backups.sessions[IDLE])) == ids(backups.complete[IDLE])
        agrees(operated)


@on_sqlite
def test_the_schedule_discards_turns_that_a_restored_temporal_lost(backups: Backups, tmp_path: Path) -> None:
    with backups.restored(tmp_path, store=3, temporal=1, interval=DAILY) as operated:
        goes_on(operated, backups.sessions[WITH_TEMPORAL], backups.complete[WITH_TEMPORAL], is_in_temporal=False)
        is_discarded(operated, backups.sessions[IDLE], backups.complete[IDLE])
        agrees(operated)


@on_sqlite
def test_databases_that_do_not_belong_together_are_named_at_the_start(backups: Backups, tmp_path: Path) -> None:
    session_id = backups.sessions[IDLE]
    folders = [tmp_path / "no store", tmp_path / "no Temporal"]
    for folder in folders:
        folder.mkdir()
    with backups.restored(folders[0], store=None, temporal=3) as operated:
        until_seen(lambda: TEMPORAL_OF_ANOTHER_STORE in operated.stack.log, lambda: operated.stack.log)
    with backups.restored(folders[1], store=3, temporal=None) as operated:
        until_seen(lambda: STORE_OF_ANOTHER_TEMPORAL in operated.stack.log, lambda: operated.stack.log)
        status, rejected = operated.reconcile()
        assert (status, rejected["findings"]) == (1, [])
        assert "--accept-new-temporal" in rejected["rejection"]
        assert not operated.session(session_id)["is_completed"]
        status, accepted = operated.reconcile("--accept-new-temporal")
        assert (status, of_session(accepted, session_id)["found"]) == (0, "workflow_not_found")
        ended = operated.compare(session_id, all_in_temporal=False)
        assert (ended["status"], ended["completion_reason"]) == ("completed", "workflow_not_found")
        assert texts(ended) == [None, *SAID]
