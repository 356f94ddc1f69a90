"""Usage and cost of an organization over HTTP."""

from collections.abc import Callable

from api.schemas.responses import LedgerRow, OrganizationUsage
from tests.api.conftest import PRICED
from tests.support.api_agents import library
from tests.support.provider import Says, ScriptedModel
from tests.support.running_api import Caller, done


async def test_the_ledger_has_one_row_a_turn_and_adds_up(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    model = scripted(Says("One.", prompt_tokens=100, completion_tokens=20), Says("Two."), name=PRICED)
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
