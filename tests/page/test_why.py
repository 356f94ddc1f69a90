"""Story 8: why a turn came out as it did: requests as sent, what was offered and chosen, what another model read."""

import re

import yaml
from playwright.async_api import Locator, expect

from tests.e2e.processes import CHECKOUT
from tests.page.browser import Person
from tests.page.stack import HOUSE, PageStack
from tests.support.provider import ProviderRequest, TextReply, ToolCallReply
from tests.support.running_api import Json

ASKED = "I would like a table, please."
REPLY = "Gladly. For which day?"
OTHER_MODEL = "second"


def booking_line() -> Json:
    """The example agent, with the caller's name in its prompt."""
    definition: Json = yaml.safe_load((CHECKOUT / "examples" / "agents" / "booking-line.yaml").read_text())
    return definition | {"name": "named-booking", "prompt": f"The caller is {{{{first_name}}}}. {definition['prompt']}"}


async def section(step: Locator, title: str) -> Locator:
    """A part of a step, unfolded."""
    part = step.locator("details").filter(has=step.page.locator("summary", has_text=re.compile(f"^{title}")))
    if await part.get_attribute("open") is None:
        await part.locator("summary").click()
    return part


async def shows_what_was_sent(step: Locator, sent: ProviderRequest) -> None:
    """What a step shows is what the provider got: instructions, messages and tools."""
    await expect(step).to_contain_text("exact")
    instructions = await section(step, "Instructions")
    assert await instructions.locator("p").inner_text() == sent.instructions
    messages = (await section(step, "Messages")).locator("li")
    shown = [(await each.inner_text()).partition("\n")[2].strip() for each in await messages.all()]
    for (role, text), words in zip(sent.conversation, shown, strict=True):
        if role in ("user", "assistant"):
            assert text.partition("(")[0] in words
    offered = (await section(step, "Offered")).locator("li .font-mono")
    assert await offered.all_inner_texts() == sent.tools


async def test_a_turn_shows_its_requests_and_those_that_another_model_receives(stack: PageStack, ada: Person) -> None:
    page, house, second = ada.page, stack.model(HOUSE), stack.model(OTHER_MODEL)
    sent, elsewhere = len(house.journal), len(second.journal)
    await stack.caller.push(booking_line())
    await ada.start("named-booking", first_name="Ada")
    await expect(ada.turn(0)).to_contain_text("Hello Ada")
    house.script(ToolCallReply("to_booking"), TextReply(REPLY))
    await ada.says(ASKED)
    await expect(ada.turn(1)).to_contain_text(REPLY)
    await ada.turn(1).click(position={"x": 200, "y": 10})
    first = ada.inspector.get_by_role("region", name="Step 1")
    await first.get_by_role("button", name=re.compile("^Step 1")).click()
    await shows_what_was_sent(first, house.journal[sent])
    await expect(first.locator(".variable", has_text="Ada").first).to_be_visible()
    chosen = first.get_by_role("listitem").filter(has_text="to_booking")
    await expect(chosen).to_contain_text("chosen")
    await expect(chosen).to_contain_text("→ booking")
    await ada.has_no_violations()
    second_step = ada.inspector.get_by_role("region", name="Step 2")
    await second_step.get_by_role("button", name=re.compile("^Step 2")).click()
    await shows_what_was_sent(second_step, house.journal[sent + 1])
    await ada.inspector.get_by_label("Requests against").select_option("the step before")
    await expect(second_step.locator("del, ins").first).to_be_visible()
    await ada.has_no_violations()

    second.script(ToolCallReply("to_booking"), TextReply("At what time?"))
    await ada.inspector.get_by_role("button", name="Try this with").click()
    dialog = page.get_by_role("dialog", name="Turn #1 with")
    await dialog.get_by_label("Model").fill(f"openai-chat:{OTHER_MODEL}")
    await dialog.get_by_role("button", name="Fork and compare").click()
    await page.wait_for_url("**/compare?*")
    right = page.get_by_role("region", name="Right side")
    await expect(page.get_by_role("group", name="Turns of both sides")).to_contain_text("At what time?")
    await right.get_by_role("link").click()
    await page.wait_for_url("**/sessions/ses_*")
    await expect(ada.turn(1)).to_contain_text("At what time?")
    await ada.inspector.get_by_label("Requests against").select_option("the session it was forked from")
    await first.get_by_role("button", name=re.compile("^Step 1")).click()
    difference = first.locator("details").filter(has=page.locator("summary", has_text="Difference"))
    await expect(difference.locator("del")).to_have_text("house")
    await expect(difference.locator("ins")).to_have_text(OTHER_MODEL)
    await expect(difference).to_contain_text("The same: instructions, messages, offered, settings.")
    await shows_what_was_sent(first, second.journal[elsewhere])
    await ada.has_no_violations()
