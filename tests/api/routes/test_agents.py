"""Agents over HTTP: versions, lists, and rejection with every error."""

import asyncio

import pytest
import yaml

from api.schemas.examples import DEFINITION, DEFINITION_YAML
from tests.api.dograh.dental import dental_export
from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi, done, problem

YAML = {"Content-Type": "application/yaml"}


async def test_every_change_is_a_new_version(caller: Caller) -> None:
    response = await caller.post("/v1/agents", library())
    first = done(response, 201)
    assert response.headers["location"] == f"/v1/agents/{first['id']}/versions/1"
    assert (first["name"], first["version"], first["warnings"]) == ("library", 1, [])
    assert isinstance(first["workflow_id"], int)
    assert done(await caller.post("/v1/agents", library()), 200) == first
    second = done(await caller.post("/v1/agents", library(prompt="Be brief.")), 201)
    assert (second["id"], second["version"]) == (first["id"], 2)
    for name in ("library", first["id"]):
        assert done(await caller.get(f"/v1/agents/{name}"), 200) == second
        assert done(await caller.get(f"/v1/agents/{name}/versions/1"), 200) == first
    problem(await caller.get("/v1/agents/library/versions/3"), 404, "not_found")
    problem(await caller.get("/v1/agents/nobody"), 404, "not_found")
    problem(await caller.get("/v1/agents/library/versions/0"), 422, "validation_error")


async def test_a_dry_run_says_what_would_be_stored_and_stores_nothing(caller: Caller) -> None:
    checked = done(await caller.post("/v1/agents", library(), dry_run=True), 200)
    assert (checked["name"], checked["version"], checked["changed"]) == ("library", 1, True)
    problem(await caller.get("/v1/agents/library"), 404, "not_found")
    stored = await caller.push(library())
    assert checked["definition"] == stored["definition"]
    same = done(await caller.post("/v1/agents", library(), dry_run=True), 200)
    assert (same["version"], same["changed"]) == (1, False)
    other = done(await caller.post("/v1/agents", library(prompt="Be brief."), dry_run=True), 200)
    assert (other["version"], other["changed"]) == (2, True)
    broken = library(start="nowhere")
    problem(await caller.post("/v1/agents", broken, dry_run=True), 400, "invalid_agent")
    assert [each["version"] for each in await caller.items("/v1/agents/library/versions")] == [1]


async def test_versions_are_listed_newest_first_without_their_definitions(caller: Caller) -> None:
    for prompt in ("One.", "Two.", "Three."):
        await caller.push(library(prompt=prompt))
    versions = await caller.items("/v1/agents/library/versions", limit=2)
    assert [each["version"] for each in versions] == [3, 2, 1]
    assert all(set(each) == {"version", "created_at", "node_count", "warnings"} for each in versions)
    assert {each["node_count"] for each in versions} == {len(library()["nodes"])}
    problem(await caller.get("/v1/agents/nobody/versions"), 404, "not_found")
    problem(await caller.get("/v1/agents/library/versions", cursor="x"), 400, "invalid_request")


async def test_agents_are_listed_newest_first(caller: Caller) -> None:
    for name in ("one", "two", "three"):
        await caller.push(library(name=name))
    assert [agent["name"] for agent in await caller.items("/v1/agents", limit=2)] == ["three", "two", "one"]


@pytest.mark.parametrize("content_type", ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"])
async def test_yaml_and_json_give_the_same_agent(caller: Caller, content_type: str) -> None:
    response = await caller.http.post("/v1/agents", content=DEFINITION_YAML, headers={"Content-Type": content_type})
    written = done(response, 201)
    assert done(await caller.post("/v1/agents", DEFINITION), 200) == written


async def test_every_fault_is_listed_and_nothing_is_stored(caller: Caller) -> None:
    broken = library(colour="red")
    broken["nodes"]["desk"]["transitions"][0]["to"] = "goodby"
    refused = problem(await caller.post("/v1/agents", broken), 400, "invalid_agent")
    places = {error["place"] for error in refused["errors"]}
    assert {"colour", "nodes.desk.transitions[0].to"} <= places
    problem(await caller.get("/v1/agents/library"), 404, "not_found")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: library\n  start: desk", "line 2, column 8"),
        ("name: library\nname: archive\n", "line 2, column 1"),
        ("name: [library\nstart: x", "line 2, column 6"),
    ],
)
async def test_malformed_yaml_is_named_with_line_and_column(caller: Caller, text: str, place: str) -> None:
    refused = problem(await caller.http.post("/v1/agents", content=text, headers=YAML), 400, "invalid_agent")
    assert refused["errors"][0]["place"] == place


async def test_malformed_json_is_named_with_line_and_column(caller: Caller) -> None:
    response = await caller.http.post(
        "/v1/agents", content='{"name":\n"library",}', headers={"Content-Type": "application/json"}
    )
    assert problem(response, 400, "invalid_agent")["errors"][0]["place"].startswith("line 2, column")


async def test_agents_of_another_media_type_are_refused(caller: Caller) -> None:
    response = await caller.http.post("/v1/agents", content=DEFINITION_YAML, headers={"Content-Type": "text/plain"})
    assert "application/yaml" in problem(response, 415, "unsupported_media_type")["detail"]


async def test_a_dograh_export_is_an_agent_under_the_name_given(caller: Caller) -> None:
    response = await caller.post("/v1/agents", dental_export(), format="dograh", name="dental")
    agent = done(response, 201)
    assert (agent["name"], agent["version"], agent["definition"]["start"]) == ("dental", 1, "reception")
    assert agent["definition"]["nodes"]["book_a_visit"]["origin"] == {
        "id": "2",
        "name": "Book a visit",
        "allow_interrupt": False,
    }
    assert any("Practice software" in warning for warning in agent["warnings"])
    assert done(await caller.post("/v1/agents", dental_export(), format="dograh", name="dental"), 200) == agent
    pushed = await caller.push(agent["definition"])
    assert (pushed["id"], pushed["version"]) == (agent["id"], 1), "what was imported can be pushed as it is"


async def test_a_dograh_export_that_is_sent_as_an_agent_is_recognised(caller: Caller) -> None:
    for export in (dental_export(), {"name": "dental", "workflow_definition": dental_export()}):
        (issue,) = problem(await caller.post("/v1/agents", export), 400, "invalid_agent")["errors"]
        assert "workflow export of dograh" in issue["message"]
        assert "?format=dograh" in issue["message"]


async def test_warnings_are_about_the_file_just_sent(caller: Caller) -> None:
    query = {"format": "dograh", "name": "dental"}
    first = done(await caller.post("/v1/agents", dental_export(), **query), 201)
    export = dental_export(tool_uuids=["a"])
    again = done(await caller.post("/v1/agents", export, **query), 200)
    assert again["version"] == first["version"]
    (new,) = set(again["warnings"]) - set(first["warnings"])
    assert "tool_uuids" in new
    assert done(await caller.get(f"/v1/agents/{first['id']}"), 200) == again
    assert done(await caller.post("/v1/agents", dental_export(), **query), 200) == first, "stale warnings are gone"


async def test_a_dograh_export_may_be_yaml(caller: Caller) -> None:
    query = {"format": "dograh", "name": "dental"}
    text = yaml.safe_dump(dental_export())
    done(await caller.http.post("/v1/agents", params=query, content=text, headers=YAML), 201)


async def test_faults_of_an_export_are_named_at_their_places_in_it(caller: Caller) -> None:
    broken = dental_export()
    broken["edges"][1]["target"] = "33"
    refused = problem(await caller.post("/v1/agents", broken, format="dograh", name="dental"), 400, "invalid_agent")
    assert "edges[1].target" in {error["place"] for error in refused["errors"]}


async def test_an_export_needs_a_name_and_a_definition_has_one(caller: Caller) -> None:
    refused = problem(await caller.post("/v1/agents", library(), name="other"), 400, "invalid_request")
    assert refused["errors"][0]["place"] == "query.name"
    refused = problem(await caller.post("/v1/agents", dental_export(), format="dograh"), 400, "invalid_agent")
    assert refused["errors"][0]["place"] == "name"
    download = {"name": "Front desk", "workflow_definition": dental_export()}
    assert done(await caller.post("/v1/agents", download, format="dograh"), 201)["name"] == "Front desk"
    for query in ({"format": "vapi", "name": "dental"}, {"format": "dograh", "name": " "}):
        problem(await caller.post("/v1/agents", dental_export(), **query), 422, "validation_error")


async def test_agents_pushed_at_once_are_one_agent(caller: Caller) -> None:
    pushed = await asyncio.gather(*(caller.push(library(prompt=f"Prompt {place}.")) for place in range(6)))
    assert len({agent["id"] for agent in pushed}) == 1
    assert sorted(agent["version"] for agent in pushed) == [1, 2, 3, 4, 5, 6]


async def test_an_agent_pushed_at_two_apis_at_once_has_one_version_for_each_definition(
    other_api: RunningApi, caller: Caller
) -> None:
    async with other_api.caller(caller.organization) as visitor:
        for version in (1, 2):
            definition = library(prompt=f"Version {version}.")
            pushing = [each.push(definition) for each in [caller, visitor] * 4]
            pushed = await asyncio.gather(*pushing)
            assert {(agent["id"], agent["version"]) for agent in pushed} == {(pushed[0]["id"], version)}
    assert len(await caller.items("/v1/agents")) == 1
