"""Databases that are set back: the session goes on with all of its past, and what was paid for stays in the ledger."""

import signal
from pathlib import Path

import pytest

from tests.operators.operator_stack import copied, operated_stack, restored, texts
from tests.support.loop_thread import LoopThread
from tests.support.provider import ModelProvider


@pytest.mark.parametrize("older", ["playhead.db", "temporal.db"])
def test_a_session_goes_on_when_one_database_is_older_by_two_turns(
    tmp_path: Path, journaling_provider: ModelProvider, loop: LoopThread, older: str
) -> None:
    with operated_stack(tmp_path, journaling_provider, loop) as operated:
        session_id = operated.create()
        operated.say(session_id, "A table, please")
        operated.until_agreed(session_id, 2)
        assert operated.stack.told(signal.SIGTERM) == 0
    copied(tmp_path, older, tmp_path / "backup")
    with operated_stack(tmp_path, journaling_provider, loop) as operated:
        operated.say(session_id, "On Friday")
        operated.say(session_id, "At eight")
        complete = operated.until_agreed(session_id, 4)
        assert operated.stack.told(signal.SIGTERM) == 0
    restored(tmp_path / "backup", older, tmp_path)
    with operated_stack(tmp_path, journaling_provider, loop) as operated:
        after = operated.say(session_id, "For four people")
        if older == "playhead.db":
            assert texts(after) == [*texts(complete), "For four people"]
            operated.until_agreed(session_id, 5)
        else:
            assert texts(after) == [None, "A table, please", "For four people"]
            agreed = operated.until_agreed(session_id, 5)
            kept = [turn["id"] for branch in agreed["discarded_branches"] for turn in branch["turns"]]
            assert kept == [turn["id"] for turn in complete["turns"][2:]]
            assert agreed["revision"] > complete["revision"]
        operated.compare(session_id, all_in_temporal=older != "temporal.db")
