"""Documents over HTTP: uploads, agents that keep what they were pushed with, conversations, and erasure."""

import json
from collections.abc import Callable
from hashlib import sha256

import pytest

from api.http.body_limit import MAX_DOCUMENT_BYTES
from tests.support.api_agents import library
from tests.support.pdf_files import pdf
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem

FAQ = (
    b"# Opening hours\nNine to five, on Sundays from ten.\n\n# Fines\nTwenty cents for each day that a book is late.\n"
)


async def upload(caller: Caller, content: bytes = FAQ, name: str = "faq.md") -> Json:
    response = await caller.http.post("/v1/documents", params={"name": name}, content=content)
    return done(response, 200, 201)


def searching(model: str | None = None, files: object = ("faq.md",), **fields: object) -> Json:
    agent = library(model, tools={"faq": {"kind": "documents", "files": files, **fields}})
    agent["nodes"]["desk"]["tools"] = ["faq"]
    return agent


async def test_a_document_is_stored_once_listed_and_erased(caller: Caller) -> None:
    response = await caller.http.post("/v1/documents", params={"name": "faq.md"}, content=FAQ)
    stored = done(response, 201)
    digest = sha256(FAQ).hexdigest()
    assert response.headers["location"] == f"/v1/documents/{digest}"
    assert (stored["sha256"], stored["names"], stored["format"], stored["passages"]) == (
        digest,
        ["faq.md"],
        "markdown",
        2,
    )
    again = done(await caller.http.post("/v1/documents", params={"name": "b.txt"}, content=FAQ), 200)
    assert again["names"] == ["b.txt", "faq.md"]
    assert await caller.items("/v1/documents") == [again]
    assert done(await caller.get(f"/v1/documents/{digest}"), 200) == again
    assert (await caller.http.delete(f"/v1/documents/{digest}")).status_code == 204
    problem(await caller.http.delete(f"/v1/documents/{digest}"), 404, "not_found")
    problem(await caller.get(f"/v1/documents/{digest}"), 404, "not_found")
    assert await caller.items("/v1/documents") == []


async def test_unreadable_documents_are_refused_with_a_reason(caller: Caller) -> None:
    async def refused(name: str, content: bytes) -> tuple[int, str, object]:
        response = await caller.http.post("/v1/documents", params={"name": name}, content=content)
        body = response.json()
        assert "othing was stored" in body["detail"] or body["code"] == "too_large"
        return response.status_code, body["code"], body.get("reason")

    assert await refused("menu.pdf", b"no pdf") == (400, "invalid_document", "unreadable")
    assert await refused("menu.md", b"  \n") == (400, "invalid_document", "no_text")
    assert await refused("menu.docx", b"x") == (415, "unsupported_media_type", None)
    assert await refused("../menu.md", b"x") == (415, "unsupported_media_type", None)
    assert await refused("menu.md", b"x" * (MAX_DOCUMENT_BYTES + 1)) == (413, "too_large", None)
    problem(await caller.http.post("/v1/documents", content=b"x"), 422, "validation_error")
    assert await caller.items("/v1/documents") == []


async def test_the_model_gets_passages_with_their_source_and_the_search_costs_nothing(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    await upload(caller)
    await upload(caller, pdf("Loans are for four weeks.", "Late books: see the fines."), "rules.pdf")
    model = scripted(
        ToolCallReply("faq", json.dumps({"query": "how much is the fine when late?"})), TextReply("Twenty cents.")
    )
    await caller.push(searching(model.string, ["faq.md", "rules.pdf"], passages=2))
    session = await caller.open("library")
    turn = (await caller.say(session["id"], "My book is late."))["turns"][-1]
    assert turn["assistant_message"]["text"] == "Twenty cents."
    events = {event["type"]: event["payload"] for event in turn["events"]}
    assert events["tool_call_started"]["arguments"] == {"query": "how much is the fine when late?"}
    passages = json.loads(events["tool_call_result"]["result"])["passages"]
    assert {each["document"] for each in passages} == {"faq.md", "rules.pdf"}
    assert {"document": "rules.pdf", "page": 2, "text": "Late books: see the fines."} in passages
    assert next(each["heading"] for each in passages if each["document"] == "faq.md") == "Fines"
    assert list(turn["usage"]["llm"]) == [f"openai:{model.name}"], "a search is no purchase"
    (offered,) = [each for each in model.journal[0].body["tools"] if each["function"]["name"] == "faq"]
    assert "faq.md, rules.pdf" in offered["function"]["description"]


async def test_a_version_keeps_the_document_it_was_pushed_with(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    asks = ToolCallReply("faq", json.dumps({"query": "hours"}))
    model = scripted(asks, TextReply("One."), asks, TextReply("Two."))
    await upload(caller)
    first = await caller.push(searching(model.string))
    await upload(caller, b"# Opening hours\nClosed hours.")
    assert (await caller.push(searching(model.string)))["version"] == 2, "another file makes another version"
    assert (await caller.push(searching(model.string)))["version"] == 2
    for version, text in ((1, "Nine to five"), (2, "Closed hours")):
        agent = {"id": "library", "version": version}
        session = done(await caller.post("/v1/sessions", {"agent": agent}), 201)
        turn = (await caller.say(session["id"], "When?"))["turns"][-1]
        result = next(event["payload"] for event in turn["events"] if event["type"] == "tool_call_result")
        assert text in result["result"]
    assert first["definition"]["tools"]["faq"]["files"] == [{"name": "faq.md", "sha256": sha256(FAQ).hexdigest()}]
    as_shown = (await caller.get("/v1/agents/library/versions/1", format="yaml")).text
    pushed = await caller.http.post("/v1/agents", content=as_shown, headers={"Content-Type": "application/yaml"})
    assert done(pushed, 201)["definition"] == first["definition"], "a definition can be sent as it is shown"


async def test_files_that_are_not_there_are_errors_of_the_definition(caller: Caller, running_api: RunningApi) -> None:
    unknown = searching(files=["faq.md", {"name": "b.md", "sha256": "0" * 64}])
    for dry_run in (False, True):
        refused = problem(await caller.post("/v1/agents", unknown, dry_run=dry_run), 400, "invalid_agent")
        places = [error["place"] for error in refused["errors"]]
        assert places == ["tools.faq.files[0]", "tools.faq.files[1]"]
    query = {"document": f"{sha256(FAQ).hexdigest()}:faq.md"}
    problem(await caller.post("/v1/agents", searching(), **query), 400, "invalid_agent")
    assert done(await caller.post("/v1/agents", searching(), dry_run=True, **query), 200)["changed"]
    problem(await caller.post("/v1/agents", searching(), document="x:faq.md"), 422, "validation_error")
    async with running_api.caller() as other:
        await upload(other)
    problem(await caller.post("/v1/agents", searching(), **query), 400, "invalid_agent")
    await upload(caller, name="other.md")
    assert done(await caller.post("/v1/agents", searching(), **query), 201)["version"] == 1


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"files": []}, "tools.faq.files"),
        ({"files": ["faq.exe"]}, "tools.faq.files[0]"),
        ({"files": ["../faq.md"]}, "tools.faq.files[0]"),
        ({"files": ["faq.md", "faq.md"]}, "tools.faq.files[1]"),
        ({"files": [{"name": "faq.md", "sha256": "x"}]}, "tools.faq.files[0].sha256"),
        ({"files": [{"name": "faq.md", "digest": "x"}]}, "tools.faq.files[0].digest"),
        ({"files": [f"{n}.md" for n in range(51)]}, "tools.faq.files"),
        ({"passages": 11}, "tools.faq.passages"),
        ({"language": "klingon"}, "tools.faq.language"),
        ({"url": "https://example.com"}, "tools.faq.url"),
    ],
)
async def test_faults_of_a_documents_tool_have_their_place(caller: Caller, fields: Json, place: str) -> None:
    refused = problem(await caller.post("/v1/agents", searching(**fields), dry_run=True), 400, "invalid_agent")
    assert place in [error["place"] for error in refused["errors"]], refused["errors"]


async def test_documents_are_erased_with_the_last_agent_that_searches_them(caller: Caller) -> None:
    await upload(caller)
    await upload(caller, b"Only here.", "own.md")
    await upload(caller, b"For nobody.", "unused.md")
    await caller.push(searching(files=["faq.md", "own.md"]))
    await caller.push({**searching(), "name": "second"})
    assert (await caller.http.delete("/v1/agents/library")).status_code == 204
    problem(await caller.get("/v1/agents/library"), 404, "not_found")
    problem(await caller.http.delete("/v1/agents/library"), 404, "not_found")
    names = [name for document in await caller.items("/v1/documents") for name in document["names"]]
    assert names == ["unused.md", "faq.md"]
    assert (await caller.http.delete("/v1/agents/second")).status_code == 204
    assert [document["names"] for document in await caller.items("/v1/documents")] == [["unused.md"]]
    assert (await caller.push(searching(files=["unused.md"])))["version"] == 1


async def test_an_agent_with_sessions_is_not_erased(caller: Caller, running_api: RunningApi) -> None:
    await upload(caller)
    await caller.push(searching())
    session = await caller.open("library")
    refused = problem(await caller.http.delete("/v1/agents/library"), 409, "agent_in_use")
    assert refused["objects"] == "sessions"
    async with running_api.caller() as other:
        problem(await other.http.delete("/v1/agents/library"), 404, "not_found")
    assert (await caller.http.delete(f"/v1/sessions/{session['id']}")).status_code == 204
    assert (await caller.http.delete("/v1/agents/library")).status_code == 204
    assert await caller.items("/v1/documents") == []
