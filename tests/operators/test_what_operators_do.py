"""Operations of Temporal's command line on live sessions: nothing that was said or paid for is lost or mixed up."""

from pathlib import Path

import pytest

from tests.e2e.processes import until_seen
from tests.operators.operator_stack import TABLE, OperatedStack, texts
from tests.operators.witnesses import answer_to
from tests.support.provider import Gate, TextReply


def test_cancel_ends_a_session_and_settles_everything(operated: OperatedStack) -> None:
    session_id = operated.create()
    operated.say(session_id, TABLE)
    operated.workflow("cancel", "-w", f"session-{session_id}")
    until_seen(lambda: operated.session(session_id)["is_completed"], lambda: "it was not ended")
    ended = operated.until_agreed(session_id, operated.requests_billed(session_id))
    assert (ended["status"], ended["completion_reason"]) == ("completed", "cancelled")
    assert texts(ended) == [None, TABLE]
    operated.compare(session_id)


def test_a_reset_to_the_beginning_keeps_the_turns_as_a_discarded_branch(operated: OperatedStack) -> None:
    session_id = operated.create()
    operated.say(session_id, TABLE)
    before = operated.until_agreed(session_id, 2)
    reset = ("-t", "FirstWorkflowTask", "--reason", "test", "--reapply-exclude", "All")
    operated.workflow("reset", "-w", f"session-{session_id}", *reset)
    until_seen(lambda: operated.session(session_id)["discarded_branches"] != [], lambda: "nothing was recovered")
    after = operated.until_agreed(session_id, 2)
    assert texts(after) == [None]
    [branch] = after["discarded_branches"]
    assert [turn["id"] for turn in branch["turns"]] == [turn["id"] for turn in before["turns"]]
    assert after["revision"] == before["revision"] + 1
    answered = operated.say(session_id, "Do you allow dogs?")
    assert answered["revision"] == after["revision"] + 2
    reply = answered["turns"][-1]["assistant_message"]["text"]
    assert reply != before["turns"][-1]["assistant_message"]["text"], "a reply was given to another question"
    operated.compare(session_id)


def test_messages_that_a_reset_delivers_again_are_all_answered_and_not_paid_for_twice(operated: OperatedStack) -> None:
    session_id = operated.create()
    operated.say(session_id, TABLE)
    before = operated.say(session_id, "On Friday")
    operated.until_agreed(session_id, 3)
    operated.workflow("reset", "-w", f"session-{session_id}", "-t", "FirstWorkflowTask", "--reason", "test")
    until_seen(
        lambda: (
            texts(operated.session(session_id)) == texts(before)
            and operated.session(session_id)["revision"] > before["revision"]
            and operated.session(session_id)["status"] == "idle"
        ),
        lambda: f"{operated.session(session_id)}",
    )
    billed = operated.requests_billed(session_id)
    assert 3 <= billed <= 6
    operated.compare(session_id)


def test_a_terminated_session_goes_on_after_a_reset_to_its_last_task(operated: OperatedStack) -> None:
    session_id = operated.create()
    operated.say(session_id, TABLE)
    before = operated.until_agreed(session_id, 2)
    operated.workflow("terminate", "-w", f"session-{session_id}", "--reason", "test")
    until_seen(lambda: operated.session(session_id)["is_completed"], lambda: "it was not closed")
    operated.workflow("reset", "-w", f"session-{session_id}", "-t", "LastWorkflowTask", "--reason", "test")
    until_seen(lambda: not operated.session(session_id)["is_completed"], lambda: "it stayed closed")
    assert texts(operated.say(session_id, "On Friday")) == [*texts(before), "On Friday"]
    after = operated.until_agreed(session_id, 3)
    assert after["revision"] > before["revision"]
    operated.compare(session_id)


def test_a_workflow_started_with_a_copied_input_does_not_take_over_a_record(
    operated: OperatedStack, tmp_path: Path
) -> None:
    session_id = operated.create()
    operated.say(session_id, TABLE)
    before = operated.until_agreed(session_id, 2)
    copied = operated.input_of(session_id, tmp_path / "input.json")
    assert operated.start_copy(f"other-{session_id}", copied) == "WORKFLOW_EXECUTION_STATUS_FAILED"
    assert operated.compare(session_id)["turns"] == before["turns"]
    operated.stack.http.post(f"/v1/sessions/{session_id}/end", json={})
    until_seen(lambda: operated.session(session_id)["is_completed"], lambda: "it was not ended")
    ended = operated.until_agreed(session_id, operated.requests_billed(session_id))
    assert operated.start_copy(f"session-{session_id}", copied) == "WORKFLOW_EXECUTION_STATUS_FAILED"
    after = operated.compare(session_id)
    assert (after["turns"], after["completion_reason"]) == (ended["turns"], ended["completion_reason"])


def test_a_message_whose_update_was_reset_can_be_sent_again(operated: OperatedStack) -> None:
    session_id = operated.create()
    operated.say(session_id, TABLE, message_id="m1")
    operated.until_agreed(session_id, 2)
    reset = ("-t", "FirstWorkflowTask", "--reason", "test", "--reapply-exclude", "All")
    operated.workflow("reset", "-w", f"session-{session_id}", *reset)
    until_seen(lambda: operated.session(session_id)["discarded_branches"] != [], lambda: "nothing was recovered")
    assert texts(operated.say(session_id, TABLE, message_id="m1")) == [None, TABLE]
    operated.compare(session_id)


@pytest.mark.parametrize("excluded", ["All", "Signal"])
def test_a_client_that_waits_during_a_reset_is_answered_by_the_new_run(operated: OperatedStack, excluded: str) -> None:
    session_id = operated.create()
    model, gate = operated.model_of(session_id), Gate()
    operated.until_agreed(session_id, 1)
    model.script(TextReply("Nobody heard this.", gate=gate))
    with operated.saying(session_id, TABLE) as saying:
        operated.loop.run(gate.reached())
        operated.reset(session_id, "-t", "FirstWorkflowTask", "--reapply-exclude", excluded)
        answered = saying.result()
    assert answered["turns"][-1]["user_message"]["text"] == TABLE
    assert answered["turns"][-1]["assistant_message"]["text"] == answer_to(TABLE)
    operated.loop.run(model.journal[1].hung_up())
    operated.loop.call(gate.open)
    operated.compare(session_id)


def test_a_cancelled_session_goes_on_after_a_reset_to_before_its_cancellation(operated: OperatedStack) -> None:
    session_id = operated.create()
    operated.say(session_id, TABLE)
    before = operated.until_agreed(session_id, 2)
    operated.workflow("cancel", "-w", f"session-{session_id}")
    until_seen(lambda: operated.session(session_id)["is_completed"], lambda: "it was not ended")
    ended = operated.compare(session_id)
    event_id = operated.task_before(session_id, "EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    operated.reset(session_id, "-e", str(event_id), "--reapply-exclude", "All")
    until_seen(lambda: not operated.session(session_id)["is_completed"], lambda: "it stayed closed")
    assert texts(operated.say(session_id, "On Friday")) == [*texts(before), "On Friday"]
    assert operated.compare(session_id)["revision"] > ended["revision"]
