"""Sessions that are searched, ordered and found by their source over HTTP, and conditional requests by ETag."""

from collections.abc import Callable

import pytest

from tests.support.api_agents import library
from tests.support.provider import ScriptedModel
from tests.support.running_api import Caller, Json, RunningApi, done, problem
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]


async def opened(caller: Caller, **fields: object) -> str:
    """A session that is recorded."""
    session_id: str = (await caller.open("library", **fields))["id"]
    await caller.recorded(session_id, turns=1)
    return session_id


async def found(caller: Caller, **query: object) -> list[str]:
    return [session["id"] for session in await caller.items("/v1/sessions", **query)]


async def test_sessions_are_found_by_name_id_context_and_ending(
    caller: Caller, running_api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caller.push(library())
    named = await opened(caller, name="The 100% bird")
    contextual = await opened(caller, initial_context={"first_name": "Zoë Marlowe"})
    ended = await opened(caller)
    done(await caller.post(f"/v1/sessions/{ended}/end", {"reason": "left_early"}), 200)

    async def is_ended() -> bool:
        return await found(caller, q="left_early") == [ended]

    await eventually(is_ended)
    assert await found(caller, q="the 100% BIRD") == [named]
    assert await found(caller, q="marlowe") == [contextual]
    assert await found(caller, q=contextual[4:]) == [contextual]
    assert await found(caller, q="100_") == [], "a character of patterns stands for itself"
    assert await found(caller, q="nobody") == []
    assert await found(caller, q="bird", status="completed") == []
    monkeypatch.setattr("store.sessions.sessions.MAX_SEARCHED", 1)
    assert await found(caller, q="bird") == [named], "page after page, each of which looks at one session"
    page = done(await caller.get("/v1/sessions", q="bird"), 200)
    assert (page["items"], page["next_cursor"] is None) == ([], False)
    async with running_api.caller() as stranger:
        assert await found(stranger, q="bird") == []
    problem(await caller.get("/v1/sessions", q=""), 422, "validation_error")
    problem(await caller.get("/v1/sessions", q="a\x00b"), 422, "validation_error")
    problem(await caller.get("/v1/sessions", q="bird", cursor="nonsense"), 400, "invalid_request")


async def test_sessions_are_listed_by_their_last_change_and_by_their_source(caller: Caller) -> None:
    await caller.push(library())
    first, second = await opened(caller), await opened(caller)
    await caller.say(first, "Hello.")

    async def is_first() -> bool:
        return await found(caller, order="updated", limit=1) == [first, second]

    await eventually(is_first)
    assert await found(caller) == [second, first]
    fork = done(await caller.post(f"/v1/sessions/{first}/fork", {}), 201)
    await caller.say(fork["id"], "On.")
    await caller.recorded(fork["id"], turns=1)
    [listed] = await caller.items("/v1/sessions", forked_from=first)
    assert listed["id"] == fork["id"]
    assert listed["turn_count"] == 3
    shown = await caller.session(fork["id"])
    for name in ("agent_name", "suite_id", "turn_count", "forked_from"):
        assert listed[name] == shown[name], name
    assert (shown["agent_name"], shown["suite_id"]) == ("library", None)
    assert await found(caller, forked_from=second) == []


async def test_a_state_that_the_client_has_is_not_sent_again(caller: Caller) -> None:
    await caller.push(library())
    session_id = await opened(caller)
    for path in (f"/v1/sessions/{session_id}", "/v1/sessions"):
        first = await caller.http.get(path)
        tag = first.headers["etag"]
        again = await caller.http.get(path, headers={"if-none-match": f'"other", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    await caller.say(session_id, "Hello.")
    await caller.recorded(session_id, turns=2)

    async def has_changed() -> Json | None:
        response = await caller.http.get("/v1/sessions", headers={"if-none-match": tag})
        return response.json() if response.status_code == 200 else None

    assert await eventually(has_changed)


async def test_a_definition_in_yaml_is_the_same_version(caller: Caller) -> None:
    agent = await caller.push(library(prompt="You speak for the library. Größe: 12 Räume."))
    yaml = {"content-type": "application/yaml"}
    for path in (f"/v1/agents/{agent['id']}", f"/v1/agents/library/versions/{agent['version']}"):
        written = await caller.get(path, format="yaml")
        assert written.headers["content-type"].startswith("application/yaml")
        assert "Größe" in written.text
        again = done(await caller.http.post("/v1/agents", content=written.content, headers=yaml), 200)
        assert again["version"] == agent["version"]
    problem(await caller.get("/v1/agents/library", format="toml"), 422, "validation_error")
    problem(await caller.get("/v1/agents/unknown", format="yaml"), 404, "not_found")
