"""Suites over HTTP: started once, read, controlled, reported, and isolated by organization."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from tests.support.api_agents import library
from tests.support.provider import ErrorReply, ScriptedModel
from tests.support.running_api import Caller, Json, RunningApi, done, problem
from tests.support.waiting import eventually

YAML = {"Content-Type": "application/yaml"}
"""Headers of a suite in YAML."""


def suite_with(agent: str, *scenarios: Json, **fields: Any) -> Json:
    return {"name": "evenings", "agent": agent, "scenarios": list(scenarios) or [scenario()], **fields}


def scenario(name: str = "asks", **fields: Any) -> Json:
    """A simulated user that asks one thing and hangs up; the demo model plays it, whatever model the agent has."""
    return {
        "id": name,
        "goal": "Ask whether there is parking.",
        "caller_model": "demo",
        "judge_model": "demo",
        "checks": {"max_turns": 30},
        **fields,
    }


async def finished(caller: Caller, suite_id: str) -> Json:
    """A suite, once it is over."""

    async def poll() -> Json | None:
        suite = done(await caller.get(f"/v1/suites/{suite_id}"), 200)
        return suite if suite["outcome"] else None

    found = await eventually(poll, within=60)
    assert found is not None
    return found


@pytest.fixture
async def agent(caller: Caller) -> str:
    return str((await caller.push(library()))["name"])


async def started(caller: Caller, body: Json, **query: object) -> Json:
    return done(await caller.post("/v1/suites", body, **query), 201)


async def test_a_suite_runs_by_itself_and_reports_its_outcome(caller: Caller, agent: str) -> None:
    body = suite_with(agent, scenario("asks", repeats=2, tags=["smoke"]), scenario("is-strict", checks=STRICT))
    suite = await started(caller, body)
    assert suite["status"] == "running"
    assert suite["progress"]["planned"] == 3
    ended = await finished(caller, suite["id"])
    assert (ended["status"], ended["outcome"]) == ("completed", "failed")
    assert [(each["id"], each["passed"], each["failed"], each["outcome"]) for each in ended["scenarios"]] == [
        ("asks", 2, 0, "passed"),
        ("is-strict", 0, 1, "failed"),
    ]
    assert (ended["progress"]["running"], ended["progress"]["passed"], ended["progress"]["failed"]) == (0, 2, 1)
    sessions = await caller.items("/v1/sessions", suite=suite["id"])
    assert len(sessions) == 3
    assert {session["status"] for session in sessions} == {"completed"}
    assert all(session["simulator"]["config"]["goal"] for session in sessions)


async def test_an_outcome_is_recorded_with_the_judgement_unless_the_judge_fails(
    running_api: RunningApi, caller: Caller, agent: str, scripted: Callable[..., ScriptedModel]
) -> None:
    async def activities_of(suite_id: str) -> Counter[str]:
        history = await running_api.client.get_workflow_handle(f"suite-{suite_id}").fetch_history()
        scheduled = [event.activity_task_scheduled_event_attributes for event in history.events]
        return Counter(each.activity_type.name for each in scheduled if each.activity_type.name)

    suite = await finished(caller, (await started(caller, suite_with(agent, scenario(repeats=2))))["id"])
    assert suite["outcome"] == "passed"
    assert await activities_of(suite["id"]) == {"begin_run": 2, "judge_session": 2, "note_suite": 1}
    broken_judge = scripted(ErrorReply(401, message="No such key."))
    refused = scenario(success=["It was polite."], judge_model=broken_judge.string)
    suite = await finished(caller, (await started(caller, suite_with(agent, refused)))["id"])
    assert suite["outcome"] == "inconclusive"
    assert await activities_of(suite["id"]) == {"begin_run": 1, "judge_session": 1, "record_run": 1, "note_suite": 1}


async def test_the_cost_of_a_suite_is_the_sum_of_its_ledger_rows(caller: Caller, agent: str) -> None:
    suite = await finished(caller, (await started(caller, suite_with(agent, model="openai-chat:priced")))["id"])
    rows = [row for row in await caller.items("/v1/usage/ledger") if row["suite_id"] == suite["id"]]
    assert rows
    ledger_total = sum((Decimal(row["cost"]["total"]) for row in rows), start=Decimal(0))
    assert Decimal(suite["progress"]["cost"]["total"]) == ledger_total > 0
    report = done(await caller.get(f"/v1/suites/{suite['id']}/report"), 200)
    assert Decimal(report["runs"][0]["cost"]) == ledger_total
    billed_turns = [row for row in rows if row["purpose"] == "turn"]
    assert suite["progress"]["turns"] == report["runs"][0]["turn_count"] == len(billed_turns) < len(rows)


async def test_a_suite_in_yaml_is_accepted_and_the_query_overrides_it(caller: Caller, agent: str) -> None:
    text = f"""
        name: evenings
        agent: {agent}
        scenarios:
          - {{id: one, goal: Ask., caller_model: demo, checks: {{max_turns: 9}}, tags: [smoke], repeats: 5}}
          - {{id: two, goal: Ask., caller_model: demo, checks: {{max_turns: 9}}}}
    """
    query = {"tag": "smoke", "repeats": "2", "seed": "7", "concurrency": "1", "min_pass_rate": "0.5", "budget_usd": "9"}
    suite = done(await caller.http.post("/v1/suites", content=text, headers=YAML, params=query), 201)
    assert [each["id"] for each in suite["scenarios"]] == ["one"]
    assert (suite["planned"], suite["seed"], suite["concurrency"]) == (2, 7, 1)
    assert (suite["min_pass_rate"], suite["budget_usd"]) == (0.5, "9")
    await finished(caller, suite["id"])


async def test_the_same_key_again_starts_no_second_suite(caller: Caller, agent: str) -> None:
    headers = {"Idempotency-Key": "nightly-2026-11-23"}
    answers = [
        done(await caller.http.post("/v1/suites", json=suite_with(agent), headers=headers), 201) for _ in range(2)
    ]
    assert answers[0]["id"] == answers[1]["id"]
    await finished(caller, answers[0]["id"])
    again = done(await caller.http.post("/v1/suites", json=suite_with(agent), headers=headers), 201)
    assert again["id"] == answers[0]["id"]
    assert again["outcome"] == "passed"
    assert len(await caller.items("/v1/suites")) == 1
    assert len(await caller.items("/v1/suites", agent=agent, agent_version=1)) == 1
    assert await caller.items("/v1/suites", agent=agent, agent_version=2) == []
    assert await caller.items("/v1/suites", agent="nobody") == []


async def test_a_suite_is_paused_resumed_and_cancelled(caller: Caller, agent: str) -> None:
    endless = scenario(min_turns=1000, limits={"max_turns": 2000, "max_stalled_turns": None}, repeats=3)
    suite = await started(caller, suite_with(agent, endless, concurrency=1))
    path = f"/v1/suites/{suite['id']}"
    assert done(await caller.post(f"{path}/pause"), 200)["status"] == "paused"
    assert done(await caller.get(path), 200)["status"] == "paused"
    assert done(await caller.post(f"{path}/resume"), 200)["status"] == "running"
    assert done(await caller.post(f"{path}/cancel"), 200)["status"] == "cancelled"
    ended = await finished(caller, suite["id"])
    assert (ended["status"], ended["outcome"], ended["progress"]["inconclusive"]) == ("cancelled", "inconclusive", 1)
    for command in ("pause", "resume", "cancel"):
        problem(await caller.post(f"{path}/{command}"), 410, "suite_ended")
    report = done(await caller.get(f"{path}/report"), 200)
    assert report["runs"][0]["completion_reason"] == "suite_cancelled"
    problem(await caller.post(f"{path}/restart"), 422, "validation_error")


async def test_a_report_is_json_junit_and_a_page(caller: Caller, agent: str) -> None:
    suite = await finished(caller, (await started(caller, suite_with(agent, scenario("asks", checks=STRICT))))["id"])
    path = f"/v1/suites/{suite['id']}/report"
    report = done(await caller.get(path), 200)
    assert report["suite"] == suite
    (run,) = report["runs"]
    assert run["outcome"] == "failed"
    assert run["findings"][0]["check"] == "must_visit goodbye"
    assert run["turns"][0]["user_message"] is None
    assert run["turns"][1]["user_message"]["text"]
    assert run["turn_count"] == len(run["turns"])
    assert done(await caller.get(path, transcripts="false"), 200)["runs"][0]["turns"] == []
    junit = await caller.get(path, format="junit")
    assert junit.headers["content-type"] == "application/xml"
    assert fromstring(junit.content).get("failures") == "1"
    page = await caller.get(path, format="html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert run["turns"][1]["id"] in page.text


async def test_a_report_can_be_compared_with_an_earlier_suite(caller: Caller, agent: str) -> None:
    before = await finished(caller, (await started(caller, suite_with(agent)))["id"])
    now = await finished(caller, (await started(caller, suite_with(agent, scenario(checks=STRICT))))["id"])
    path = f"/v1/suites/{now['id']}/report"
    compared = done(await caller.get(path, baseline=before["id"]), 200)["baseline"]
    assert compared["suite_id"] == before["id"]
    assert [each["change"] for each in compared["scenarios"]] == ["perhaps_worse"]
    assert "Compared with before" in (await caller.get(path, format="html", baseline=before["id"])).text
    problem(await caller.get(path, baseline="sui_nowhere"), 404, "not_found")


async def test_a_suite_with_faults_starts_nothing_and_names_every_place(caller: Caller, agent: str) -> None:
    body = suite_with(agent, scenario("a", checks={"must_visit": ["desc"]}), scenario("a", colour="red"))
    refused = problem(await caller.post("/v1/suites", body), 400, "invalid_suite")
    assert {"scenarios[0].id", "scenarios[1].colour"} <= {error["place"] for error in refused["errors"]}
    misfit = suite_with(agent, scenario("a", checks={"must_visit": ["desc"]}))
    refused = problem(await caller.post("/v1/suites", misfit), 400, "invalid_suite")
    assert refused["errors"][0]["place"] == "scenarios[0].checks.must_visit[0]"
    broken = await caller.http.post("/v1/suites", content="name: [", headers=YAML)
    assert "line 2" in problem(broken, 400, "invalid_suite")["errors"][0]["place"]
    large = suite_with(agent, *(scenario(f"s{number}", repeats=1000) for number in range(11)))
    assert problem(await caller.post("/v1/suites", large), 400, "invalid_suite")["errors"][0]["place"] == "repeats"
    untagged = await caller.post("/v1/suites", suite_with(agent), tag="smoke")
    assert problem(untagged, 400, "invalid_suite")["errors"][0]["place"] == "scenarios"
    assert await caller.items("/v1/suites") == []


async def test_a_scenario_goes_on_from_a_recorded_session(caller: Caller, agent: str) -> None:
    source = await caller.open(agent, initial_context={"time_of_day": "evening"})
    for text in ("Do you have Emma?", "And Persuasion?"):
        source = await caller.say(source["id"], text)
    await caller.recorded(source["id"], turns=3)
    recorded = {"session": source["id"], "turn": source["turns"][1]["id"]}
    suite = await finished(caller, (await started(caller, suite_with(agent, scenario(history=recorded))))["id"])
    (run,) = done(await caller.get(f"/v1/suites/{suite['id']}/report"), 200)["runs"]
    assert run["turns"][:2] == source["turns"][:2]
    assert run["turns"][2]["user_message"]["text"] != "And Persuasion?"
    session = await caller.session(run["session_id"])
    assert session["initial_context"]["time_of_day"] == "evening"
    rows = await caller.items("/v1/usage/ledger", session=run["session_id"])
    assert not {row["turn_id"] for row in rows} & {turn["id"] for turn in source["turns"]}


@pytest.mark.parametrize("history", [{"session": "ses_nowhere"}, {"turn": "turn_nowhere"}])
async def test_a_recorded_session_that_is_not_there_is_a_fault(caller: Caller, agent: str, history: Json) -> None:
    session = await caller.open(agent)
    await caller.recorded(session["id"], turns=1)
    body = suite_with(agent, scenario(history={"session": session["id"], **history}))
    refused = problem(await caller.post("/v1/suites", body), 400, "invalid_suite")
    assert refused["errors"][0]["place"] == "scenarios[0].history"


async def test_a_suite_needs_an_agent_that_is_there(caller: Caller) -> None:
    problem(await caller.post("/v1/suites", suite_with("nobody")), 404, "not_found")


async def test_a_suite_is_sent_as_json_or_yaml(caller: Caller) -> None:
    sent = await caller.http.post("/v1/suites", content=b"x", headers={"Content-Type": "text/plain"})
    problem(sent, 415, "unsupported_media_type")


async def test_another_organization_sees_nothing_of_a_suite(
    caller: Caller, running_api: RunningApi, agent: str
) -> None:
    suite = await started(caller, suite_with(agent))
    async with running_api.caller() as other:
        for path in ("", "/report"):
            problem(await other.get(f"/v1/suites/{suite['id']}{path}"), 404, "not_found")
        problem(await other.post(f"/v1/suites/{suite['id']}/cancel"), 404, "not_found")
        assert await other.items("/v1/suites") == []
    await finished(caller, suite["id"])


async def test_suites_are_listed_newest_first(caller: Caller, agent: str) -> None:
    ids = [(await started(caller, suite_with(agent)))["id"] for _ in range(3)]
    assert [suite["id"] for suite in await caller.items("/v1/suites", limit=2)] == ids[::-1]
    for suite_id in ids:
        await finished(caller, suite_id)
    refused = problem(await caller.get("/v1/suites", cursor="forged"), 400, "invalid_request")
    assert refused["errors"][0]["place"] == "query.cursor"


STRICT: Json = {"max_turns": 1, "must_visit": ["desk", "goodbye"]}
"""Checks that fail when the simulated user sends more than one message."""


async def test_one_key_at_two_apis_at_once_starts_one_suite(other_api: RunningApi, caller: Caller, agent: str) -> None:
    body = suite_with(agent, scenario())
    async with other_api.caller(caller.organization) as visitor:
        for key in ("at-once-1", "at-once-2", "at-once-3"):
            headers = {"Idempotency-Key": key}
            asking = [each.http.post("/v1/suites", json=body, headers=headers) for each in [caller, visitor] * 4]
            suites = [done(response, 201) for response in await asyncio.gather(*asking)]
            assert len({suite["id"] for suite in suites}) == 1
    assert len(await caller.items("/v1/suites")) == 3


async def test_runs_are_listed_without_turns_also_those_that_have_not_begun(
    caller: Caller, agent: str, running_api: RunningApi
) -> None:
    body = suite_with(
        agent,
        scenario("asks", repeats=2),
        scenario("is-strict", checks=STRICT),
        scenario("waits", min_turns=1000, limits={"max_turns": 2000, "max_stalled_turns": None}, repeats=3),
        concurrency=2,
        model="openai-chat:priced",
    )
    suite = await started(caller, body)
    path = f"/v1/suites/{suite['id']}/runs"

    async def judged() -> list[Json] | None:
        runs = await caller.items(path, limit=2)
        return runs if [run["state"] for run in runs[:3]] == ["done"] * 3 else None

    runs = await eventually(judged, within=60)
    assert runs is not None
    assert [(run["scenario"], run["repeat"]) for run in runs] == [
        ("asks", 1),
        ("asks", 2),
        ("is-strict", 1),
        ("waits", 1),
        ("waits", 2),
        ("waits", 3),
    ]
    assert [run["outcome"] for run in runs] == ["passed", "passed", "failed", None, None, None]
    assert runs[3]["state"] == "talking"
    assert (runs[5]["state"], runs[5]["session_id"], runs[5]["cost"]["total"]) == ("waiting", None, "0")
    report = done(await caller.get(f"/v1/suites/{suite['id']}/report", transcripts="false"), 200)
    for reported in report["runs"][:2]:
        run = next(each for each in runs if each["session_id"] == reported["session_id"])
        for name in ("seed", "criteria", "findings", "error", "started_at", "completion_reason"):
            assert run[name] == reported[name], name
    first = runs[0]
    session = await caller.session(first["session_id"])
    last = session["turns"][-1]
    assert first["last_said"] == (last["assistant_message"] or last["user_message"])["text"][:120]
    assert first["turn_count"] == len(session["turns"])
    assert "turns" not in first
    by_purpose = first["cost_by_purpose"]
    assert {"turn", "caller"} <= set(by_purpose)
    assert sum(map(Decimal, by_purpose.values())) == Decimal(first["cost"]["total"]) > 0
    chosen = {"outcome": "failed"}, {"scenario": "waits"}, {"scenario": "asks", "outcome": "failed"}
    assert [len(await caller.items(path, **query)) for query in chosen] == [1, 3, 0]
    changed = await caller.items(path, updated_after="2026-01-01T00:00:00Z", limit=1)
    assert [run["updated_at"] for run in changed] == sorted(run["updated_at"] for run in changed)
    assert {run["state"] for run in changed} <= {"done", "talking", "judging"}
    assert await caller.items(path, updated_after="2199-01-01T00:00:00Z") == []
    problem(await caller.get(path, cursor="nonsense"), 400, "invalid_request")
    problem(await caller.get(path, updated_after="1"), 422, "validation_error")
    definition = done(await caller.get(f"/v1/suites/{suite['id']}/definition"), 200)
    assert [each["id"] for each in definition["scenarios"]] == ["asks", "is-strict", "waits"]
    async with running_api.caller() as stranger:
        problem(await stranger.get(path), 404, "not_found")
        problem(await stranger.get(f"/v1/suites/{suite['id']}/definition"), 404, "not_found")
    done(await caller.post(f"/v1/suites/{suite['id']}/cancel"), 200)
    await finished(caller, suite["id"])
    again = done(await caller.post("/v1/suites", {**definition, "scenarios": definition["scenarios"][:1]}), 201)
    assert [each["id"] for each in (await finished(caller, again["id"]))["scenarios"]] == ["asks"]


async def test_a_suite_is_streamed_until_it_is_over(caller: Caller, agent: str, running_api: RunningApi) -> None:
    suite = await started(caller, suite_with(agent, scenario("asks", repeats=2)))
    path = f"/v1/suites/{suite['id']}/events"
    events = await streamed(caller, path)
    assert events[0][0] == events[-1][0] == "suite_updated"
    assert [data["outcome"] for kind, data in events if kind == "suite_updated"][-1] == "passed"
    runs = {data["repeat"]: data for kind, data in events if kind == "run_updated"}
    assert {repeat: run["state"] for repeat, run in runs.items()} == {1: "done", 2: "done"}
    again = await streamed(caller, path)
    assert [kind for kind, _ in again] == ["suite_updated"], "a suite that is over sends nothing more"
    resumed = await streamed(caller, path, {"last-event-id": "1"})
    assert [kind for kind, _ in resumed] == ["run_updated", "run_updated", "suite_updated"]
    whole = await caller.http.get(path)
    last_id = int(whole.text.rpartition("id: ")[2])
    stopped = await caller.http.get(path, headers={"last-event-id": str(last_id)})
    assert (stopped.status_code, stopped.content) == (204, b""), "a client that has everything stops"
    missed = await streamed(caller, path, {"last-event-id": str(last_id - 1)})
    assert missed[-1][0] == "suite_updated", "the last event of a run is not the end"
    wrong = await caller.http.get(path, headers={"last-event-id": "yesterday"})
    problem(wrong, 400, "invalid_request")
    async with running_api.caller() as stranger:
        problem(await stranger.get(path), 404, "not_found")


async def streamed(caller: Caller, path: str, headers: dict[str, str] | None = None) -> list[tuple[str, Json]]:
    """The events of a stream that ends by itself, as type and data."""
    response = await caller.http.get(path, headers=headers, timeout=90)
    assert response.status_code == 200, response.text
    blocks = [block.splitlines() for block in response.text.split("\n\n") if block.startswith("event:")]
    return [(lines[0].removeprefix("event:").strip(), json.loads(lines[1].removeprefix("data:"))) for lines in blocks]
