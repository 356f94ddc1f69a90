"""`playhead reconcile` after an operator's command line: what is over in Temporal is over everywhere."""

import json

from tests.e2e.processes import until_seen
from tests.e2e.services import forked_playhead
from tests.operators.operator_stack import Json, OperatedStack, texts
from tests.operators.witnesses import answer_to
from tests.support.provider import Gate, TextReply


def found_of(result: Json, subject_id: str) -> tuple[str, str]:
    """The finding of a reconciliation about one session or suite, and its action."""
    [found] = [each for each in result["findings"] if each["id"] == subject_id]
    return found["found"], found["done"]


def statuses(operated: OperatedStack) -> dict[str, str]:
    """Every session of the list, with its status."""
    items = operated.stack.http.get("/v1/sessions", params={"limit": 200}).json()["items"]
    return {session["id"]: session["status"] for session in items}


def test_a_terminated_session_is_over_in_every_list_and_everything_is_billed(operated: OperatedStack) -> None:
    session_id = operated.create()
    operated.say(session_id, "A table, please")
    operated.workflow("terminate", "-w", f"session-{session_id}", "--reason", "test")
    status, result = operated.reconcile()
    assert (status, found_of(result, session_id)) == (0, ("workflow_terminated", "closed"))
    ended = operated.compare(session_id)
    assert (ended["status"], ended["completion_reason"]) == ("completed", "workflow_terminated")
    assert texts(ended) == [None, "A table, please"]
    assert statuses(operated)[session_id] == "completed"


def test_a_deleted_session_is_closed_with_the_turns_of_the_store(operated: OperatedStack) -> None:
    operated.create()  # Temporal knows another session of this store
    session_id = operated.create()
    operated.say(session_id, "A table, please")
    operated.until_agreed(session_id, 2)
    operated.workflow("delete", "-w", f"session-{session_id}", "--yes")

    def is_closed() -> bool:
        operated.reconcile()
        return bool(operated.session(session_id)["completion_reason"] == "workflow_not_found")

    until_seen(is_closed, lambda: f"{operated.session(session_id)}")
    assert statuses(operated)[session_id] == "completed"
    assert texts(operated.compare(session_id, all_in_temporal=False)) == [None, "A table, please"]


def test_a_client_that_waits_for_a_terminated_suite_receives_its_outcome(operated: OperatedStack) -> None:
    agent, model = operated.push()
    gate = Gate()
    model.script(TextReply(answer_to(None), gate=gate))
    scenario = {"id": "asks", "goal": "Ask for a table.", "caller_model": "demo", "checks": {"max_turns": 1}}
    suite = {"name": "evenings", "agent": agent, "scenarios": [scenario]}
    response = operated.stack.http.post("/v1/suites", json=suite)
    assert response.status_code == 201, response.text
    suite_id = response.json()["id"]
    operated.loop.run(gate.reached())
    operated.workflow("terminate", "-w", f"suite-{suite_id}", "--reason", "test")
    _, result = operated.reconcile()
    assert found_of(result, suite_id) == ("workflow_terminated", "closed")
    attached = forked_playhead(
        operated.stack.folder,
        "simulate",
        "attach",
        suite_id,
        "--json",
        PLAYHEAD_API_URL=str(operated.stack.http.base_url),
    )
    assert attached.returncode == 1, attached.stderr
    assert json.loads(attached.stdout)["suite"]["status"] == "cancelled"
    operated.loop.call(gate.open)
    found: list[str] = []

    def is_over() -> bool:
        items = operated.stack.http.get("/v1/sessions", params={"suite": suite_id}).json()["items"]
        found[:] = [session["id"] for session in items if session["is_completed"]]
        return bool(found)

    until_seen(is_over, lambda: "its conversation did not go on")
    operated.compare(found[0])
