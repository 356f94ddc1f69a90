"""Everything beside the conversation is as of the selected turn; turns are found by what was said in them."""

import json
import re
from datetime import UTC, datetime, timedelta

from playwright.async_api import Locator, expect
from pytest_httpserver import HTTPServer
from sqlalchemy import update
from werkzeug import Request, Response

from playhead.temporal.dev_server import LOOPBACK
from store.database.tables import sessions
from tests.page.agents import cents, settled_conversation, shop
from tests.page.browser import Person
from tests.page.conftest import Opens
from tests.page.stack import PageStack
from tests.support.ports import free_port
from tests.support.provider import ToolCallReply

RESERVING = shop(
    "reserving",
    "first",
    nodes={
        "counter": {
            "prompt": "Ask for the name.",
            "greeting": "Good day, this is the shop.",
            "extract": [{"name": "caller_name", "hint": "the caller's name"}],
            "transitions": [{"name": "named", "when": "the name is known", "to": "till"}],
        },
        "till": {"prompt": "Say what it costs."},
    },
)


async def test_variables_graph_and_slider_are_those_of_the_selected_turn(stack: PageStack, ada: Person) -> None:
    page, model = ada.page, stack.model("first")
    await stack.caller.push(RESERVING)
    session = await stack.caller.open("reserving", initial_context={"shop": "Mill Street"})
    model.script(cents("Gladly. Your name, please?"))
    await stack.caller.say(session["id"], "Keep a green umbrella for me.")
    name = json.dumps({"caller_name": "Lovelace"})
    model.script(ToolCallReply("named"), ToolCallReply("record_variables", name), cents("That is twelve euros, madam."))
    await stack.caller.say(session["id"], "Lovelace.")
    await stack.settled(session["id"])

    await ada.open(f"/sessions/{session['id']}?tab=variables")
    table = ada.inspector.get_by_role("table")
    slider = page.get_by_role("slider", name="Playhead")
    await expect(row_of(table, "caller_name")).to_contain_text("Lovelace")
    await expect(row_of(table, "caller_name").get_by_role("button", name="#2")).to_be_visible()
    await expect(slider).to_have_attribute("aria-valuetext", "turn 2 of 2, till")
    await ada.turn(2).click(position={"x": 200, "y": 10})
    await ada.presses("k")
    await expect(slider).to_have_attribute("aria-valuetext", "turn 1 of 2, counter")
    await expect(row_of(table, "shop")).to_contain_text("Mill Street")
    await expect(row_of(table, "caller_name")).to_have_count(0)
    await ada.presses("2")
    await expect(ada.inspector.get_by_role("row").filter(has_text="here")).to_contain_text("counter")

    found = (await ada.looks_for("twelve EUROS")).get_by_role("option")
    await expect(found).to_have_count(1)
    await expect(found).to_contain_text("#2 That is twelve euros, madam.")
    await ada.has_no_violations()
    await ada.presses("Enter")
    await expect(ada.turn(2)).to_have_attribute("data-selected", "true")
    await expect(ada.turn(2)).to_be_focused()
    await expect(ada.inspector.get_by_role("row").filter(has_text="here")).to_contain_text("till")

    await ada.presses("3", "k")
    await expect(row_of(table, "caller_name")).to_have_count(0)
    elsewhere = ada.path
    await ada.open("/settings")
    await ada.open(elsewhere)
    await expect(slider).to_have_attribute("aria-valuetext", "turn 1 of 2, counter")
    await expect(row_of(table, "shop")).to_contain_text("Mill Street")
    await expect(row_of(table, "caller_name")).to_have_count(0)


def row_of(table: Locator, variable: str) -> Locator:
    """The row of a variable."""
    return table.get_by_role("row").filter(has=table.page.get_by_role("rowheader", name=variable, exact=True))


async def test_a_page_without_temporal_says_when_its_data_was_recorded(stack: PageStack, opens: Opens) -> None:
    session = await settled_conversation(stack, shop("recorded-earlier", "first"), ("A question", "An answer."))
    before = datetime.now(UTC) - timedelta(minutes=3)
    earlier = update(sessions).where(sessions.c.id == session["id"]).values(recorded_at=before)
    await stack.database.write(lambda connection: connection.execute(earlier).close())
    async with stack.another_api(keyless=True, temporal_address=f"{LOOPBACK}:{free_port()}") as url:
        ada = await opens(origin=url)
        await ada.open(f"/sessions/{session['id']}")
        await expect(ada.turn(1)).to_contain_text("An answer.")
        shown = ada.page.get_by_role("status").filter(has_text=re.compile(r"^As of \d\d:\d\d:\d\d"))
        await expect(shown).to_contain_text("this is what is recorded")
        await ada.has_no_violations()


async def test_attempts_of_a_tool_call_are_shown(stack: PageStack, ada: Person, httpserver: HTTPServer) -> None:
    left = [503, 500]

    def answer(_: Request) -> Response:
        return Response("later", status=left.pop(0)) if left else Response('{"table": 12}')

    httpserver.expect_request("/tables").respond_with_handler(answer)
    tool = {
        "kind": "http",
        "description": "Finds a table.",
        "parameters": {"type": "object", "properties": {"guests": {"type": "integer"}}},
        "url": httpserver.url_for("/tables"),
        "retry_pause_seconds": 0.1,
    }
    nodes = {"counter": {"prompt": "Help.", "greeting": "Good day, this is the shop.", "tools": ["find_table"]}}
    await stack.caller.push(shop("patient", "first", tools={"find_table": tool}, nodes=nodes))
    session = await stack.caller.open("patient")
    stack.model("first").script(ToolCallReply("find_table", '{"guests": 4}'), cents("Table twelve is free."))
    await stack.caller.say(session["id"], "A table for four, please.")
    await ada.open(f"/sessions/{session['id']}")
    call = ada.turn(1).get_by_role("button", name=re.compile("find_table"))
    await expect(call).to_contain_text("3 attempts")
    await call.click()
    attempts = ada.turn(1).get_by_role("region", name="Attempts").get_by_role("listitem")
    await expect(attempts).to_have_count(3)
    await expect(attempts.nth(0)).to_contain_text("http error 503")
    await expect(attempts.nth(1)).to_contain_text("http error 500")
    await expect(attempts.nth(2)).to_contain_text("answered")
    await ada.has_no_violations()
