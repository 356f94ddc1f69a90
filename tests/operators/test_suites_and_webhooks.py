"""Suites and webhook deliveries that an operator cancels: each ends in good order, and says that it was cancelled."""

from pytest_httpserver import HTTPServer

from tests.e2e.processes import until_seen
from tests.operators.operator_stack import Json, OperatedStack
from tests.operators.witnesses import answer_to
from tests.support.provider import Gate, TextReply

COMPLETED = "WORKFLOW_EXECUTION_STATUS_COMPLETED"


def test_a_cancelled_suite_ends_its_sessions_and_settles_everything(operated: OperatedStack) -> None:
    agent, model = operated.push()
    gate = Gate()
    model.script(TextReply(answer_to(None), gate=gate))
    suite = {
        "name": "cancelled",
        "agent": agent,
        "caller_model": "demo",
        "judge_model": "demo",
        "scenarios": [{"id": "booking", "goal": "Book a table.", "success": ["The agent said table."]}],
    }
    started = operated.stack.http.post("/v1/suites", json=suite)
    assert started.status_code in (201, 202), started.text
    suite_id = started.json()["id"]
    operated.loop.run(gate.reached())
    operated.workflow("cancel", "-w", f"suite-{suite_id}")
    operated.loop.call(gate.open)
    until_seen(lambda: suite_now(operated, suite_id)["status"] == "cancelled", lambda: "the suite was not cancelled")
    until_seen(lambda: operated.status(f"suite-{suite_id}") == COMPLETED, lambda: "the suite's workflow was not closed")
    [session] = operated.stack.http.get("/v1/sessions", params={"suite": suite_id}).json()["items"]
    ended = operated.compare(session["id"])
    assert (ended["status"], ended["completion_reason"]) == ("completed", "suite_cancelled")
    progress = suite_now(operated, suite_id)["progress"]
    assert (progress["planned"], progress["running"], progress["inconclusive"]) == (1, 0, 1)


def test_a_cancelled_webhook_delivery_is_recorded_as_such(operated: OperatedStack, service: HTTPServer) -> None:
    service.expect_request("/hook").respond_with_data("", status=500)
    session_id = operated.create(webhook={"url": service.url_for("/hook"), "secret": "HOOK"})
    operated.stack.http.post(f"/v1/sessions/{session_id}/end", json={})
    until_seen(lambda: bool(service.log), lambda: "no delivery was tried")
    operated.workflow("cancel", "-w", f"webhook-{session_id}")
    until_seen(lambda: operated.status(f"webhook-{session_id}") == COMPLETED, lambda: "it goes on")
    [failed] = [payload for kind, payload in operated.logged(session_id) if kind == "webhook_failed"]
    assert "was cancelled in Temporal" in failed["error"]
    operated.compare(session_id)


def suite_now(operated: OperatedStack, suite_id: str) -> Json:
    response = operated.stack.http.get(f"/v1/suites/{suite_id}")
    assert response.status_code == 200, response.text
    suite: Json = response.json()
    return suite
