"""Story 4: a reply can be stopped, and a message during a reply interrupts it or waits in the queue."""

import asyncio
import re

from playwright.async_api import Route, expect

from tests.page.agents import shop
from tests.page.browser import Person
from tests.page.stack import PageStack, gate
from tests.support.provider import TextReply

LONG = "The history of this shop begins in the year 1874, and goes on for a good while yet."


async def test_interrupting_stopping_and_queueing_do_what_the_button_says(stack: PageStack, ada: Person) -> None:
    model = stack.model("interrupted")
    await stack.caller.push(shop("interrupting", "interrupted"))
    await ada.start("interrupting")
    await expect(ada.turn(0)).to_contain_text("Good day")
    model.script(TextReply(LONG, gate=gate()), TextReply("We close at six."))
    await ada.says("Tell me everything.")
    await expect(ada.turn(1)).to_contain_text("The history of this shop")
    await ada.composer.fill("Just tell me when you close.")
    await expect(ada.page.get_by_role("button", name="Interrupt", exact=True)).to_be_visible()
    await ada.composer.press("Enter")
    await expect(ada.turn(2)).to_contain_text("We close at six.")
    await expect(ada.turn(1)).to_contain_text("The history of this shop")
    await expect(ada.turn(1)).to_contain_text("stopped after")
    await expect(ada.turn(1)).to_have_css("border-left-style", "dashed")
    await model.journal[0].hung_up()
    assert [asked.is_hung_up for asked in model.journal] == [True, False]

    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await ada.page.route("**/cancel", hold)
    model.script(TextReply(LONG, gate=gate()))
    await ada.says("And now everything.")
    await expect(ada.turn(3)).to_contain_text("The history of this shop")
    await ada.presses("Escape")
    await expect(ada.turn(3).get_by_role("button", name="stopping …")).to_be_visible()
    held.set()
    await expect(ada.turn(3)).to_contain_text("stopped after")
    await model.journal[2].hung_up()

    half = gate()
    model.script(TextReply(LONG, gate=half), TextReply("On Monday."), TextReply("On Tuesday."))
    await ada.says("Once more.")
    await expect(ada.turn(4)).to_contain_text("The history of this shop")
    await ada.page.get_by_role("button", name="What sending does now").click()
    await ada.page.get_by_role("menuitem", name=re.compile("^Queue")).click()
    waiting = ada.page.get_by_role("list", name="Messages on their way").get_by_role("listitem")
    await ada.says("Which day?")
    await expect(waiting).to_have_count(1)
    await ada.says("And which other?")
    await expect(waiting).to_have_count(2)
    await expect(waiting.filter(has_text="waits for its turn")).to_have_count(2)
    await ada.has_no_violations()
    half.open()
    await expect(ada.turn(6)).to_contain_text("On Tuesday.")
    await expect(ada.turn(5)).to_contain_text("On Monday.")
    await expect(ada.turn(4)).to_contain_text("a good while yet.")
    await expect(waiting).to_have_count(0)
