"""Who may call, and that nobody sees another's."""

import pytest

from api.app import create_app
from store.api_keys import KeyStore
from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi, done, problem, serving


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/agents", "/v1/usage", "/v1/usage/ledger"])
async def test_without_a_valid_key_nothing_is_shown(running_api: RunningApi, path: str) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer phk_wrong"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
    ):
        async with running_api.stranger(**headers) as stranger:
            response = await stranger.get(path)
            problem(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"


async def test_health_and_the_document_need_no_key(running_api: RunningApi) -> None:
    async with running_api.stranger() as stranger:
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert (await stranger.get(path)).status_code == 200


async def test_what_belongs_to_another_organization_does_not_exist(running_api: RunningApi, caller: Caller) -> None:
    agent = await caller.push(library())
    session = await caller.open("library")
    await caller.recorded(session["id"], turns=1)
    path = f"/v1/sessions/{session['id']}"
    async with running_api.caller() as other:
        for address in (path, f"{path}/turns", f"{path}/branches", f"/v1/agents/{agent['id']}", "/v1/agents/library"):
            problem(await other.get(address), 404, "not_found")
        for command, body in (("messages", {"text": "Hi"}), ("rewind", {"turn_id": None}), ("end", None)):
            problem(await other.post(f"{path}/{command}", body), 404, "not_found")
        problem(await other.post("/v1/sessions", {"agent": agent["id"]}), 404, "not_found")
        assert await other.items("/v1/sessions") == []
        assert await other.items("/v1/agents") == []
        assert await other.items("/v1/usage/ledger", session=session["id"]) == []
        assert done(await other.get("/v1/usage"), 200)["turns"] == 0


async def test_a_revoked_key_stops_working(running_api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.auth.KEY_CACHE_SECONDS", 0.0)
    keys = KeyStore(running_api.database)
    key, secret = await keys.create("org_revoking", "tests")
    async with running_api.stranger(Authorization=f"bearer {secret}") as holder:
        done(await holder.get("/v1/agents"), 200)
        await keys.revoke(key.id)
        problem(await holder.get("/v1/agents"), 401, "unauthenticated")


async def test_a_key_is_looked_up_once_in_a_while(running_api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    authenticate = KeyStore.authenticate

    async def counted(self: KeyStore, secret: str) -> str | None:
        asked.append(secret)
        return await authenticate(self, secret)

    monkeypatch.setattr(KeyStore, "authenticate", counted)
    async with running_api.caller() as caller:
        for _ in range(5):
            done(await caller.get("/v1/agents"), 200)
    assert len(asked) == 1


async def test_keyless_calls_are_the_organization_dev_on_this_machine_only(running_api: RunningApi) -> None:
    await KeyStore(running_api.database).ensure_organization("dev", "Development")
    keyless = running_api.settings.model_copy(update={"keyless": True})
    async with serving(keyless, running_api.client, running_api.database) as open_desk:
        async with open_desk.stranger() as nobody:
            await nobody.push(library(name="of-dev"))
            assert texts_of_names(await nobody.items("/v1/agents")) == ["of-dev"]
        async with open_desk.stranger(Authorization="Bearer dev") as must_send_one:
            assert texts_of_names(await must_send_one.items("/v1/agents")) == ["of-dev"]
        for headers in ({}, {"Authorization": "Bearer dev"}):
            async with open_desk.stranger(Host="evil.example", **headers) as rebound:
                problem(await rebound.get("/v1/agents"), 401, "unauthenticated")
        async with open_desk.stranger(Authorization="Bearer phk_wrong") as mistaken:
            problem(await mistaken.get("/v1/agents"), 401, "unauthenticated")
        async with open_desk.caller() as holder:
            assert await holder.items("/v1/agents") == []


async def test_dev_is_no_key_where_keys_are_asked_for(running_api: RunningApi) -> None:
    async with running_api.stranger(Authorization="Bearer dev") as stranger:
        problem(await stranger.get("/v1/agents"), 401, "unauthenticated")


async def test_keyless_calls_from_other_machines_are_no_way_to_start(running_api: RunningApi) -> None:
    exposed = running_api.settings.model_copy(update={"keyless": True, "api_host": "0.0.0.0"})
    with pytest.raises(ValueError, match="this machine only"):
        create_app(exposed.api(), client=running_api.client, database=running_api.database)


def texts_of_names(agents: list[dict[str, str]]) -> list[str]:
    return [agent["name"] for agent in agents]
