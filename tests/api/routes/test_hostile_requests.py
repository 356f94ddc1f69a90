"""Requests made to break something are answered with an error of their own, on both databases."""

from base64 import urlsafe_b64encode

import pytest

from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi, done, problem, serving
from tests.support.waiting import eventually

SURROGATE = b'"\\ud800"'


@pytest.mark.parametrize("written", ["[true]", "[-1]", "[1e30]", '["a",1]', "{}", "[[[[1]]]]", "[9223372036854775808]"])
async def test_invented_cursor_is_refused(caller: Caller, written: str) -> None:
    cursor = urlsafe_b64encode(written.encode()).decode().rstrip("=")
    for path in ("/v1/agents", "/v1/sessions", "/v1/suites", "/v1/usage/ledger"):
        problem(await caller.get(path, cursor=cursor), 400, "invalid_request")


@pytest.mark.parametrize("version", ["9" * 5_000, "9" * 19, "9" * 12])
async def test_version_with_thousands_of_digits_is_unknown(caller: Caller, version: str) -> None:
    await caller.push(library())
    suite = {"name": "s", "agent": f"library@{version}", "scenarios": [{"id": "a", "goal": "g", "success": ["s"]}]}
    answers = [
        await caller.post("/v1/sessions", {"agent": f"library@{version}"}),
        await caller.post(
            "/v1/chat/completions",
            {"model": f"library@{version}", "messages": [{"role": "user", "content": "Hi"}]},
        ),
        await caller.post("/v1/suites", suite),
        await caller.get(f"/v1/agents/library/versions/{version}"),
        await caller.get(f"/api/v1/workflow/{version}/text-chat/sessions/{version}"),
        await caller.get("/v1/sessions", agent=f"library@{version}"),
    ]
    assert all(answer.status_code < 500 for answer in answers), [answer.text for answer in answers]


async def test_session_with_a_huge_version_is_refused(caller: Caller) -> None:
    await caller.push(library())
    for version in (2**31, 2**63, 10**400):
        answer = await caller.post("/v1/sessions", {"agent": {"id": "library", "version": version}})
        assert answer.status_code in (404, 422), answer.text


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800"])
async def test_filter_with_text_that_no_database_stores_is_refused(caller: Caller, text: str) -> None:
    agent = await caller.push(library())
    for filters in (
        '[{"attribute": "dispositionCode", "value": {"codes": ["%s"]}}]',
        '[{"attribute": "status", "value": {"status": "completed", "other": ["%s"]}}]',
    ):
        answer = await caller.get(f"/api/v1/workflow/{agent['workflow_id']}/runs", filters=filters % text)
        assert answer.status_code == 400, answer.text


async def test_lone_surrogates_are_refused_on_every_route(caller: Caller) -> None:
    agent = await caller.push(library())
    session = await caller.open("library")
    legacy = f"/api/v1/workflow/{agent['workflow_id']}/text-chat/sessions"
    run = f"{legacy}/{session['workflow_run_id']}"
    headers = {"content-type": "application/json"}
    for path, body in (
        (legacy, b'{"name": ' + SURROGATE + b"}"),
        (legacy, b'{"initial_context": {"a": ' + SURROGATE + b"}}"),
        (legacy, b'{"initial_context": {' + SURROGATE + b": 1}}"),
        (f"{run}/messages", b'{"text": ' + SURROGATE + b"}"),
        (f"{run}/rewind", b'{"cursor_turn_id": ' + SURROGATE + b"}"),
        (f"{run}/rewind", b'{"expected_revision": ' + SURROGATE + b"}"),
        (f"/v1/sessions/{session['id']}/messages", b'{"text": ' + SURROGATE + b"}"),
        ("/v1/sessions", b'{"agent": ' + SURROGATE + b"}"),
        ("/v1/agents", b'{"name": ' + SURROGATE + b"}"),
        (
            "/v1/chat/completions",
            b'{"model": "library", "messages": [{"role": "user", "content": ' + SURROGATE + b"}]}",
        ),
    ):
        answer = await caller.http.post(path, content=body, headers=headers)
        assert 400 <= answer.status_code < 500, (path, body, answer.text)


async def test_time_that_is_written_as_a_number_is_refused(caller: Caller) -> None:
    for value in ("0.5", "1700000000", "now"):
        problem(await caller.get("/v1/sessions", created_after=value), 422, "validation_error")
    done(await caller.get("/v1/sessions", created_after="2026-01-01T00:00:00Z"), 200)


async def test_head_is_answered_where_get_is_and_allow_names_every_method(caller: Caller) -> None:
    await caller.push(library())
    session = await caller.open("library")
    for path in ("/v1/agents", f"/v1/sessions/{session['id']}", "/healthz", f"/v1/sessions/{session['id']}/events"):
        answer = await caller.http.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path
    assert (await caller.http.head("/v1/agents/nobody")).status_code == 404
    refused = await caller.http.patch("/v1/agents")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD, POST"
    refused = await caller.http.put(f"/v1/sessions/{session['id']}")
    assert refused.headers["allow"] == "DELETE, GET, HEAD"


async def test_session_that_another_api_erased_is_soon_unknown(
    running_api: RunningApi, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.sessions.reader.CACHED_SECONDS", 0.05)
    await caller.push(library())
    async with (
        serving(running_api.settings, running_api.client, running_api.database) as other,
        other.caller(caller.organization) as there,
    ):
        session = await there.open("library")
        done(await there.get(f"/v1/sessions/{session['id']}"), 200)
        assert (await caller.http.delete(f"/v1/sessions/{session['id']}")).status_code == 204

        async def is_gone() -> bool:
            return (await there.get(f"/v1/sessions/{session['id']}")).status_code == 404

        await eventually(is_gone)


async def test_page_ends_early_when_it_becomes_large_and_the_next_one_continues(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.responses.MAX_PAGE_BYTES", 100_000)
    names = [f"large-{number}" for number in range(25)]
    for name in names:
        await caller.push(library(name=name, prompt="x" * 20_000))
    page = done(await caller.get("/v1/agents", limit=200), 200)
    assert len(page["items"]) < 25
    assert page["next_cursor"] is not None
    assert [agent["name"] for agent in await caller.items("/v1/agents", limit=200)] == names[::-1]
    assert len(done(await caller.get("/v1/agents", limit=2), 200)["items"]) == 2


async def test_page_of_turns_ends_early_when_it_becomes_large(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.sessions.reader.MAX_PAGE_BYTES", 1_000)
    await caller.push(library())
    session = await caller.open("library")
    for _ in range(3):
        await caller.say(session["id"], "x" * 600)
    page = done(await caller.get(f"/v1/sessions/{session['id']}/turns"), 200)
    assert [turn["index"] for turn in page["items"]] == [3]
    turns = await caller.items(f"/v1/sessions/{session['id']}/turns")
    assert sorted(turn["index"] for turn in turns) == [0, 1, 2, 3]


async def test_page_of_branches_ends_early_when_it_becomes_large(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.sessions.reader.MAX_PAGE_BYTES", 4_000)
    await caller.push(library())
    session = await caller.open("library")
    greeting = session["turns"][0]["id"]
    for _ in range(3):
        await caller.say(session["id"], "x" * 1_500)
        await caller.rewind(session["id"], greeting)
    path = f"/v1/sessions/{session['id']}/branches"
    page = done(await caller.get(path), 200)
    assert len(page["items"]) == 1
    assert len({branch["id"] for branch in await caller.items(path)}) == 2  # the third is hidden, not discarded
