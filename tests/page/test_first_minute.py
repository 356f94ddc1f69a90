"""Story 1: from the root address to a conversation that is shown in its graph, and opens the same in another window."""

import re

from playwright.async_api import expect

from tests.page.browser import Person
from tests.page.conftest import Opens
from tests.page.stack import HOUSE, PageStack, gate
from tests.support.provider import TextReply, ToolCallReply

QUESTION = "Gladly. For which day, and at what time would you like to come?"


async def test_a_first_minute_leads_from_the_root_to_a_reply_shown_as_it_is_generated(
    stack: PageStack, ada: Person, opens: Opens
) -> None:
    await ada.open("/")
    await ada.page.get_by_role("link", name="New session").first.click()
    form = ada.page.get_by_role("main")
    await form.get_by_label("Agent").select_option("booking-line")
    await form.get_by_label("first_name").fill("Ada")
    await ada.has_no_violations()
    await form.get_by_role("button", name="Start", exact=True).click()
    await expect(ada.turn(0)).to_contain_text("Hello Ada, this is Osteria Fiorella.")
    await ada.page.get_by_role("tab", name="Graph").click()
    here = ada.inspector.get_by_role("row").filter(has_text="here")
    await expect(here).to_contain_text("greet")

    half = gate()
    stack.model(HOUSE).script(ToolCallReply("to_booking"), TextReply(QUESTION, gate=half))
    await ada.says("I would like a table, please.")
    row = ada.turn(1)
    await expect(row).to_contain_text("I would like a table, please.")
    await expect(row).to_contain_text("Gladly. For which day")
    first = await row.evaluate("row => { row.dataset.seen = 'yes'; return row.innerText }")
    assert "would you like to come?" not in first
    await expect(here).to_contain_text("booking")
    half.open()
    await expect(row).to_contain_text(QUESTION)
    assert await row.get_attribute("data-seen") == "yes", "the row was replaced while the reply was streamed"
    await expect(row.get_by_label("Moves to booking")).to_be_visible()
    await expect(row.get_by_role("button", name="Stop")).to_have_count(0)
    await row.click(position={"x": 200, "y": 10})
    await ada.page.wait_for_url(re.compile("turn="))
    await ada.has_no_violations()

    elsewhere = await opens()
    await elsewhere.open(ada.path)
    await expect(elsewhere.turn(1)).to_contain_text(QUESTION)
    await expect(elsewhere.turn(1)).to_have_attribute("data-selected", "true")
    await expect(elsewhere.inspector.get_by_role("row").filter(has_text="here")).to_contain_text("booking")
