"""A new version of the workers, made current on Temporal's command line: everything that runs moves to it."""

from contextlib import ExitStack

from pytest_httpserver import HTTPServer

from tests.e2e.processes import until_seen
from tests.operators.operator_stack import TABLE, texts
from tests.operators.separate_services import SeparateServices
from tests.operators.witnesses import answer_to
from tests.support.provider import Gate, TextReply


def test_sessions_suites_and_deliveries_follow_the_current_version(
    services: SeparateServices, service: HTTPServer
) -> None:
    service.expect_request("/hook").respond_with_data("", status=500)
    with ExitStack() as new_worker, services.worker("old"):
        make_current(services, "old")
        talking = services.create()
        reported = services.create(webhook={"url": service.url_for("/hook"), "secret": "HOOK"})
        services.stack.http.post(f"/v1/sessions/{reported}/end", json={})
        suite_id, gate = suite_of_two(services)
        until_seen(lambda: bool(service.log), lambda: "no delivery was tried")
        workflows = (f"session-{talking}", f"suite-{suite_id}", f"webhook-{reported}")
        assert {build_of(services, each) for each in workflows} == {"old"}
        new_worker.enter_context(services.worker("new"))
        make_current(services, "new")
        services.loop.call(gate.open)
        said = say_until_moved(services, talking)
        until_seen(
            lambda: {build_of(services, each) for each in workflows} == {"new"},
            lambda: f"{[build_of(services, each) for each in workflows]}",
        )
        until_seen(lambda: is_over(services, suite_id), lambda: "the suite does not end")
        sessions = services.stack.http.get("/v1/sessions", params={"suite": suite_id}).json()["items"]
        newest = max(sessions, key=lambda session: session["created_at"])
        assert (len(sessions), build_of(services, f"session-{newest['id']}")) == (2, "new")
        services.workflow("cancel", "-w", f"webhook-{reported}")
        assert texts(services.compare(talking)) == [None, *[TABLE] * said]
        services.compare(reported)
        first, second = (session["id"] for session in sessions)
        services.compare(first, beside=[second])
        services.compare(second, beside=[first])
        services.temporal("worker", "deployment", "set-current-version", *DEPLOYMENT, "--unversioned", "--yes")


DEPLOYMENT = ("--deployment-name", "playhead")


def make_current(services: SeparateServices, build_id: str) -> None:
    """Make a version current, once the server knows it."""

    def is_made() -> bool:
        try:
            services.temporal(
                "worker", "deployment", "set-current-version", *DEPLOYMENT, "--build-id", build_id, "--yes"
            )
        except AssertionError:
            return False
        return True

    until_seen(is_made, lambda: f"{build_id} could not be made current")


def say_until_moved(services: SeparateServices, session_id: str) -> int:
    """Talk until the session has moved; returns the number of messages.

    A session moves after a message, and the server may announce the new version only with a later one.
    """
    said = 0

    def has_moved() -> bool:
        nonlocal said
        if build_of(services, f"session-{session_id}") == "new":
            return True
        services.say(session_id, TABLE)
        said += 1
        return False

    until_seen(has_moved, lambda: f"the session is still on the old version after {said} messages")
    return said


def build_of(services: SeparateServices, workflow_id: str) -> str:
    """The build that the newest run of a workflow is on; none before its first task is done."""
    versioning = services.described(workflow_id)["workflowExecutionInfo"].get("versioningInfo", {})
    return str(versioning.get("deploymentVersion", {}).get("buildId"))


def suite_of_two(services: SeparateServices) -> tuple[str, Gate]:
    """A suite of two conversations, one after the other, and the gate at which the first one waits."""
    agent, model = services.push()
    gate = Gate()
    model.script(TextReply(answer_to(None), gate=gate))
    scenario = {"id": "asks", "goal": "Ask for a table.", "repeats": 2, "checks": {"max_turns": 2}}
    suite = {"name": "two", "agent": agent, "caller_model": "demo", "concurrency": 1, "scenarios": [scenario]}
    started = services.stack.http.post("/v1/suites", json=suite)
    assert started.status_code in (201, 202), started.text
    services.loop.run(gate.reached())
    return str(started.json()["id"]), gate


def is_over(services: SeparateServices, suite_id: str) -> bool:
    """True when a suite has completed."""
    return bool(services.stack.http.get(f"/v1/suites/{suite_id}").json()["status"] == "completed")
