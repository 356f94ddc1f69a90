"""Tools that the client carries out, where a person stands in for the client; and turns that were held elsewhere."""

import asyncio
import json
import re

from playwright.async_api import Route, expect

from tests.page.agents import shop
from tests.page.browser import Person
from tests.page.long_session import long_session
from tests.page.stack import PageStack
from tests.support.client_tool_agent import TRANSFER
from tests.support.provider import TextReply, ToolCallReply
from tests.support.running_api import Json

SALES = json.dumps({"to": "sales"})


def transfers(name: str) -> Json:
    """An agent that transfers calls with a tool of its client, and a model of the same name."""
    return shop(
        name,
        name,
        tools={"transfer": TRANSFER},
        nodes={"counter": {"prompt": "Help.", "greeting": "Good day.", "tools": ["transfer"]}},
    )


async def test_the_result_of_a_client_tool_is_given_by_hand(stack: PageStack, ada: Person) -> None:
    await stack.caller.push(transfers("transfers"))
    model = stack.model("transfers")
    session_id = await ada.start("transfers")
    await expect(ada.turn(0)).to_contain_text("Good day.")
    model.script(ToolCallReply("transfer", SALES, text="One moment. "), TextReply("You are through."))
    await ada.says("Sales, please.")
    card = ada.page.get_by_role("region", name="Result of transfer")
    await expect(card).to_contain_text("sales")
    await expect(card).to_contain_text("left")
    await expect(ada.turn(1)).to_contain_text("waits for the result of transfer")
    await expect(ada.page.locator("[data-region=urgent]")).to_contain_text(
        "The agent waits for the result of transfer."
    )
    assert model.journal[0].tools == ["transfer"], "the page stands in for the client, so the tool is offered"
    await ada.has_no_violations()
    await card.get_by_label("Result", exact=True).fill('{"transferred": true}')
    await card.get_by_role("button", name="Return it").click()
    await expect(ada.turn(1)).to_contain_text("You are through.")
    await expect(card).to_have_count(0)
    assert '"transferred"' in str(model.journal[1].body["messages"][-1]["content"])

    model.script(ToolCallReply("transfer", SALES), TextReply("Nobody is there, I am sorry."))
    await ada.says("Once more, please.")
    await card.get_by_label("Result", exact=True).fill("The line is busy")
    await card.get_by_role("button", name="It failed").click()
    await expect(ada.turn(2)).to_contain_text("Nobody is there, I am sorry.")
    (result,) = (
        event["payload"]
        for event in (await stack.settled(session_id))["turns"][2]["events"]
        if event["type"] == "tool_call_result"
    )
    assert result["error"]
    assert "The line is busy" in str(result["result"])


async def test_a_message_before_the_session_is_loaded_also_offers_the_client_tools(
    stack: PageStack, ada: Person
) -> None:
    await stack.caller.push(transfers("transfers-early"))
    session = await stack.caller.open("transfers-early")
    read = asyncio.Event()

    async def hold(route: Route) -> None:
        await read.wait()
        await route.continue_()

    await ada.page.route(re.compile(f"/v1/sessions/{session['id']}(/events)?$"), hold)
    stack.model("transfers-early").script(ToolCallReply("transfer", SALES), TextReply("You are through."))
    await ada.open(f"/sessions/{session['id']}")
    await ada.says("Sales, please.")
    await expect(ada.page.get_by_role("list", name="Messages on their way")).to_be_visible()
    read.set()
    card = ada.page.get_by_role("region", name="Result of transfer")
    await card.get_by_label("Result", exact=True).fill("Done")
    await card.get_by_role("button", name="Return it").click()
    await expect(ada.turn(1)).to_contain_text("You are through.")


async def test_imported_turns_are_marked(stack: PageStack, ada: Person) -> None:
    await stack.caller.push(shop("held-elsewhere", "imported"))
    session_id = await long_session(stack, "held-elsewhere", [("A question", "An answer.")])
    await ada.open(f"/sessions/{session_id}?tab=cost")
    await expect(ada.turn(1)).to_contain_text("imported")
    await ada.says("A new question")
    await expect(ada.turn(2)).to_contain_text("You said: A new question")
    await expect(ada.turn(2).get_by_text("imported", exact=True)).to_have_count(0)
    await ada.has_no_violations()
