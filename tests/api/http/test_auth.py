"""Authentication, and isolation of organizations."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api.app import create_app
from store.agents import AgentStore
from store.api_keys import KeyStore
from tests.api.dograh.widget import forget_rates
from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi, done, problem, serving
from tests.support.waiting import eventually


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/agents", "/v1/usage", "/v1/usage/ledger"])
async def test_requests_without_a_valid_key_are_unauthenticated(running_api: RunningApi, path: str) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer phk_wrong"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "phk_wrong"},
        {"X-API-Key": ""},
    ):
        async with running_api.stranger(**headers) as stranger:
            response = await stranger.get(path)
            problem(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"


async def test_health_and_the_document_need_no_key(running_api: RunningApi) -> None:
    async with running_api.stranger() as stranger:
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert (await stranger.get(path)).status_code == 200


async def test_objects_of_another_organization_are_not_found(running_api: RunningApi, caller: Caller) -> None:
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


async def test_a_revoked_key_stops_working(running_api: RunningApi) -> None:
    keys = KeyStore(running_api.database)
    key, secret = await keys.create("org_revoking", "tests")
    async with running_api.stranger(Authorization=f"bearer {secret}") as holder:
        done(await holder.get("/v1/agents"), 200)
        await keys.revoke(key.id)

        async def is_refused() -> bool:
            return (await holder.get("/v1/agents")).status_code == 401

        await eventually(is_refused, within=5)
        problem(await holder.get("/v1/agents"), 401, "unauthenticated")


async def test_a_key_is_accepted_in_either_header(running_api: RunningApi, keyless_api: RunningApi) -> None:
    for organization, api in (("org_of_header", running_api), ("org_of_header_in_dev", keyless_api)):
        _, secret = await KeyStore(api.database).create(organization, "tests")
        async with api.stranger(**{"X-API-Key": secret}) as holder:
            agent = done(await holder.post("/v1/agents", library()), 201)
        async with api.stranger(Authorization=f"Bearer {secret}") as holder:
            assert [each["id"] for each in done(await holder.get("/v1/agents"), 200)["items"]] == [agent["id"]]
        async with api.stranger(**{"X-API-Key": "phk_wrong"}) as stranger:
            problem(await stranger.get("/v1/agents"), 401, "unauthenticated")
            assert (await stranger.get("/api/v1/workflow/1/runs/1")).status_code == 401


async def test_a_container_needs_a_key_and_the_error_says_how_to_get_one(keyless_api: RunningApi) -> None:
    _, secret = await KeyStore(keyless_api.database).create("dev", "container")
    for given in ({}, {"Authorization": "Bearer dev"}):
        async with keyless_api.stranger(Host="host.docker.internal:8080", **given) as container:
            refused = problem(await container.get("/v1/agents"), 401, "unauthenticated")
            assert "`playhead keys create NAME --organization dev`" in refused["detail"]
    async with keyless_api.stranger(Host="host.docker.internal:8080", Authorization=f"Bearer {secret}") as container:
        done(await container.get("/v1/models"), 200)


async def test_a_key_lookup_is_cached(running_api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest_asyncio.fixture
async def keyless_api(running_api: RunningApi) -> AsyncIterator[RunningApi]:
    """A second API, which accepts calls without a key."""
    await KeyStore(running_api.database).ensure_organization("dev", "Development")
    keyless = running_api.settings.model_copy(update={"keyless": True})
    async with serving(keyless, running_api.client, running_api.database) as served:
        yield served


async def test_keyless_calls_belong_to_dev_and_come_from_this_machine_only(running_api: RunningApi) -> None:
    await KeyStore(running_api.database).ensure_organization("dev", "Development")
    keyless = running_api.settings.model_copy(update={"keyless": True})
    async with serving(keyless, running_api.client, running_api.database) as open_api:
        async with open_api.stranger() as keyless_client:
            await keyless_client.push(library(name="of-dev"))
            assert (await AgentStore(running_api.database).find("dev", "of-dev")) is not None
            seen = names_of(await keyless_client.items("/v1/agents"))
            assert "of-dev" in seen
        async with open_api.stranger(Authorization="Bearer dev") as dev_client:
            assert names_of(await dev_client.items("/v1/agents")) == seen
        for headers in ({}, {"Authorization": "Bearer dev"}):
            async with open_api.stranger(Host="evil.example", **headers) as rebound:
                problem(await rebound.get("/v1/agents"), 401, "unauthenticated")
        async with open_api.stranger(Authorization="Bearer phk_wrong") as mistaken:
            problem(await mistaken.get("/v1/agents"), 401, "unauthenticated")
        async with open_api.caller() as holder:
            assert await holder.items("/v1/agents") == []


LOCAL = ("localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.9.10", "[::1]:8080")
FOREIGN = (
    "evil.example",
    "localhost.evil.example",
    "localhost:8080.evil.example",
    "evil.example#@localhost",
    "evil.example:8080@localhost",
    "localhost@evil.example",
    "localhost/evil.example",
    "localhost, evil.example",
    "localhost:port",
    "localhost.",
    "[::1",
    "::1",
    "10.0.0.1",
    "0.0.0.0",
    "",
)


async def test_keyless_calls_need_a_local_host_header(keyless_api: RunningApi) -> None:
    async def status(*hosts: str, address: str = "/v1/agents") -> int:
        """The status of a request with these Host headers, as no HTTP library would send them."""
        reader, writer = await asyncio.open_connection(*keyless_api.url.removeprefix("http://").split(":"))
        head = "".join(f"Host: {host}\r\n" for host in hosts)
        writer.write(f"GET {address} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
        first_line = await reader.readline()
        writer.close()
        return int(first_line.split()[1])

    for host in LOCAL:
        assert await status(host) == 200, host
    for host in FOREIGN:
        assert await status(host) in (400, 401), host
    for hosts in ((), ("localhost", "evil.example"), ("evil.example", "localhost"), ("localhost", "localhost")):
        assert await status(*hosts) in (400, 401), hosts
    for named, accepted in (("localhost:8080", 200), ("evil.example", 401), ("me@localhost", 401), ("", 400)):
        for host in ("localhost", "evil.example"):
            assert await status(host, address=f"http://{named}/v1/agents") == accepted, (named, host)


CROSS_SITE: tuple[dict[str, str], ...] = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Sec-Fetch-Site": "something new"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "null"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "http://evil.example", "Authorization": "Bearer dev"},
)


async def test_cross_site_commands_without_a_key_are_refused(keyless_api: RunningApi) -> None:
    await forget_rates(keyless_api.database)
    async with keyless_api.stranger() as keyless_client:
        document = done(await keyless_client.get("/openapi.json"), 200)
        commands = [
            (method, path.format_map(defaultdict(lambda: "1")), operation.get("security") == [])
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if method != "get"
        ]
        keyed = [(method, path) for method, path, is_public in commands if not is_public]
        public = [(method, path) for method, path, is_public in commands if is_public]
        assert len(keyed) >= 20
        assert {path for _, path in public} == {
            f"/api/v1/public/embed/{path}" for path in ("init", "chat/1/messages", "chat/1/end")
        }
        for headers in CROSS_SITE:
            for method, path in keyed:
                response = await keyless_client.http.request(method, path, headers=headers)
                assert response.status_code == 401, (headers, method, path, response.text)
            for method, path in public:  # which need the token of a page, or of its visitor
                response = await keyless_client.http.request(
                    method, path, headers=headers, json={"token": "1", "text": "Hi"}
                )
                assert response.status_code == 404, (headers, method, path, response.text)
            assert (await keyless_client.http.get("/v1/sessions", headers=headers)).status_code == 401, headers


async def test_only_a_same_origin_page_can_end_a_session_without_a_key(keyless_api: RunningApi) -> None:
    async with keyless_api.stranger() as keyless_client:
        await keyless_client.push(library())
        session = await keyless_client.open("library")
        path = f"/v1/sessions/{session['id']}"
        form = {"Content-Type": "text/plain", "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert (await keyless_client.http.post(f"{path}/end", headers=form)).status_code == 401
        assert not (await keyless_client.session(session["id"]))["is_completed"]
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await keyless_client.http.get(path, headers=link)).status_code == 200
        assert (await keyless_client.http.post(f"{path}/end", headers=link)).status_code == 401
        own = {"Origin": keyless_api.url, "Sec-Fetch-Site": "same-origin"}
        assert done(await keyless_client.http.post(f"{path}/end", headers=own), 200)["is_completed"]


async def test_the_key_dev_is_refused_where_keys_are_required(running_api: RunningApi) -> None:
    async with running_api.stranger(Authorization="Bearer dev") as stranger:
        problem(await stranger.get("/v1/agents"), 401, "unauthenticated")


async def test_a_keyless_api_on_a_public_address_does_not_start(running_api: RunningApi) -> None:
    exposed = running_api.settings.model_copy(update={"keyless": True, "api_host": "0.0.0.0"})
    with pytest.raises(ValueError, match="this machine only"):
        create_app(exposed.api(), client=running_api.client, database=running_api.database)


def names_of(agents: list[dict[str, str]]) -> list[str]:
    return [agent["name"] for agent in agents]
