"""Usage and cost of an organization over HTTP."""

from collections.abc import Callable

from api.schemas.responses import LedgerRow, OrganizationUsage
from tests.api.conftest import PRICED
from tests.support.api_agents import library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi, done, problem


async def test_the_ledger_has_one_row_a_turn_and_adds_up(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    model = scripted(TextReply("One.", prompt_tokens=100, completion_tokens=20), TextReply("Two."), name=PRICED)
    agent = await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    first = await caller.say(session_id, "One?")
    await caller.rewind(session_id, first["turns"][0]["id"])
    session = await caller.say(session_id, "Two?")
    rows = await caller.recorded(session_id, turns=3)
    assert all(set(row) == set(LedgerRow.model_fields) for row in rows)
    assert {row["agent_id"] for row in rows} == {agent["id"]}
    billed = {row["turn_id"]: row["cost"]["total"] for row in rows}
    assert billed == {
        first["turns"][0]["id"]: "0",
        first["turns"][1]["id"]: "0.12",
        session["turns"][1]["id"]: "0.018",
    }
    totals = done(await caller.get("/v1/usage"), 200)
    assert set(totals) == set(OrganizationUsage.model_fields)
    assert totals["turns"] == 3
    assert totals["cost"] == {
        "currency": "USD",
        "total": "0.138",
        "breakdown": {f"openai:{PRICED}": "0.138"},
        "unpriced_models": [],
        "calculated_at": totals["cost"]["calculated_at"],
    }
    assert totals["usage"]["llm"][f"openai:{PRICED}"]["requests"] == 2
    assert {**session["cost"], "calculated_at": totals["cost"]["calculated_at"]} == totals["cost"]


async def test_the_ledger_is_paged_newest_first_and_can_be_of_one_session(caller: Caller) -> None:
    await caller.push(library())
    one, two = (await caller.open("library"))["id"], (await caller.open("library"))["id"]
    for text in ("a", "b"):
        await caller.say(one, text)
    await caller.recorded(one, turns=3)
    await caller.recorded(two, turns=1)
    rows = await caller.items("/v1/usage/ledger", limit=1)
    assert len(rows) == 4
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    assert {row["session_id"] for row in await caller.items("/v1/usage/ledger", session=two)} == {two}


async def test_usage_is_divided_by_day_agent_model_and_purpose(
    caller: Caller, scripted: Callable[..., ScriptedModel], running_api: RunningApi
) -> None:
    agent = await caller.push(library(scripted(TextReply("One."), name=PRICED).string))
    session = await caller.say((await caller.open("library"))["id"], "One?")
    await caller.recorded(session["id"], turns=2)
    total = done(await caller.get("/v1/usage"), 200)
    assert total["rows"] == []
    divided = {"by": ["day", "agent", "model", "purpose"], "zone": "Europe/Rome"}
    ranged = done(await caller.http.get("/v1/usage", params=divided), 200)
    for name in ("turns", "usage"):
        assert ranged[name] == total[name], name
    assert ranged["cost"]["total"] == total["cost"]["total"]
    [row] = ranged["rows"]
    assert row == {
        "day": row["day"],
        "agent_id": agent["id"],
        "agent_name": "library",
        "model": f"openai:{PRICED}",
        "purpose": "turn",
        "turns": 1,
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "cost": {name: value for name, value in total["cost"].items() if name != "calculated_at"},
    }
    before = done(await caller.http.get("/v1/usage", params={"from": "2026-01-01", "to": "2026-01-31"}), 200)
    assert (before["turns"], before["cost"]["total"], before["rows"]) == (0, "0", [])
    async with running_api.caller() as stranger:
        foreign = done(await stranger.http.get("/v1/usage", params={"by": "day"}), 200)
        assert (foreign["turns"], foreign["rows"]) == (0, [])
    for wrong in (
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"from": "2020-01-01"},
        {"by": "day", "zone": "Mars/Base"},
    ):
        problem(await caller.http.get("/v1/usage", params=wrong), 400, "invalid_request")
    problem(await caller.http.get("/v1/usage", params={"by": "week"}), 422, "validation_error")


async def test_a_usage_row_can_be_traced_to_its_sessions(
    caller: Caller, scripted: Callable[..., ScriptedModel], running_api: RunningApi
) -> None:
    await caller.push(library(scripted(TextReply("One."), name=PRICED).string))
    paid = (await caller.open("library"))["id"]
    greeted = (await caller.open("library"))["id"]
    await caller.say(paid, "One?")
    await caller.recorded(paid, turns=2)
    await caller.recorded(greeted, turns=1)
    usage = done(await caller.http.get("/v1/usage", params={"by": ["day", "model"]}), 200)
    [row] = [each for each in usage["rows"] if each["model"] == f"openai:{PRICED}"]
    day = {"billed_from": row["day"], "billed_to": row["day"]}

    async def found(by: Caller = caller, **query: object) -> list[str]:
        return [each["id"] for each in await by.items("/v1/sessions", **query)]

    assert await found(**day, billed_model=row["model"]) == [paid]
    assert await found(billed_model=row["model"]) == [paid], "of the last 30 days"
    assert await found(**day) == [greeted, paid], "a greeting without a model call is a turn that was counted"
    assert await found(**day, billed_purpose="turn", agent="library", limit=1) == [greeted, paid]
    assert await found(**day, billed_purpose="judge") == []
    assert await found(billed_from="2026-01-01", billed_to="2026-01-31") == []
    async with running_api.caller() as stranger:
        assert await found(stranger, **day) == []
    for wrong in ({"billed_from": "2026-02-01", "billed_to": "2026-01-01"}, {**day, "zone": "Mars/Base"}):
        problem(await caller.get("/v1/sessions", **wrong), 400, "invalid_request")
    for invalid in ({"billed_purpose": "fun"}, {"billed_model": "a\x00b"}):
        problem(await caller.get("/v1/sessions", **invalid), 422, "validation_error")
