"""Story 5: the API dies in the middle of a reply; and a browser has more tabs than connections."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.page.agents import shop
from tests.page.browser import Person, another_page
from tests.page.conftest import Opens
from tests.page.stack import PageStack, gate
from tests.support.provider import TextReply

LONG = "The history of this shop begins in the year 1874, and goes on for a good while yet."
TABS = 7


@pytest.mark.timeout(400)
async def test_an_api_that_is_killed_during_a_reply_loses_and_repeats_nothing(stack: PageStack, ada: Person) -> None:
    model = stack.model("lost")
    await stack.caller.push(shop("lost-and-found", "lost"))
    session_id = await ada.start("lost-and-found")
    await expect(ada.turn(0)).to_contain_text("Good day")
    half = gate()
    model.script(TextReply(LONG, gate=half), TextReply("We close at six."))
    await ada.says("Tell me everything.")
    await expect(ada.turn(1)).to_contain_text("The history of this shop")
    await ada.page.get_by_role("button", name="What sending does now").click()
    await ada.page.get_by_role("menuitem", name="Queue It waits").click()

    await stack.kill_api()
    try:
        await ada.sees("Connection lost")
        clock = ada.page.get_by_role("img", name=re.compile(r"^As of \d\d:\d\d:\d\d$"))
        await expect(clock).to_be_visible()
        faint = await clock.evaluate("shown => getComputedStyle(shown).color")
        await expect(ada.turn(1).locator("time")).to_have_css("color", faint)
        await expect(ada.turn(1).locator(".spinner")).to_have_count(0)
        await ada.says("When do you close?")
        await ada.sees("not taken yet; it is sent again by itself")
        await expect(ada.turn(1)).to_contain_text("The history of this shop")
        half.open()
    finally:
        await stack.start_api()
    await expect(ada.turn(2)).to_contain_text("We close at six.")
    await expect(ada.turn(1)).to_contain_text(LONG)
    await expect(ada.page.get_by_text("Connection lost")).to_have_count(0)
    await expect(clock).to_have_count(0)
    await expect(ada.page.get_by_role("list", name="Messages on their way")).to_have_count(0)
    await expect(ada.turns).to_have_count(3)
    session = await stack.settled(session_id)
    assert len(session["turns"]) == 3
    for turn in session["turns"]:
        row = ada.page.locator(f"article[data-turn={turn['id']}]")
        await expect(row).to_have_count(1)
        await expect(row).to_contain_text(turn["assistant_message"]["text"])
        if turn["user_message"]:
            await expect(row).to_contain_text(turn["user_message"]["text"])
    assert [asked.conversation[-1][1] for asked in model.journal] == ["Tell me everything.", "When do you close?"]
    await ada.has_no_violations()


async def test_more_tabs_than_connections_all_load_and_all_move(stack: PageStack, opens: Opens) -> None:
    await stack.caller.push(shop("many-tabs", "tabs"))
    sessions = [await stack.caller.open("many-tabs") for _ in range(TABS)]
    first = await opens()
    tabs = [first, *[await another_page(first.page.context, stack.url) for _ in sessions[1:]]]
    for tab, session in zip(tabs, sessions, strict=True):
        await tab.open(f"/sessions/{session['id']}")
        await expect(tab.turn(0)).to_contain_text("Good day")
    await expect(tabs[-1].page.get_by_text("Many tabs are open: this one asks every 2 s.")).to_be_visible()
    await asyncio.gather(*(stack.caller.say(session["id"], f"Hello {session['id']}") for session in sessions))
    for tab, session in zip(tabs, sessions, strict=True):
        await expect(tab.turn(1)).to_contain_text(f"You said: Hello {session['id']}")
        tab.did_nothing_wrong()
