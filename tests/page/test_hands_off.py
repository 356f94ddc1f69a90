"""Story 11: without a mouse: an approval by keys with a focus one can see, and words of an input method."""

import json
import re

from playwright.async_api import Page, expect

from playhead.temporal.dev_server import LOOPBACK, free_port
from tests.page.agents import shop, talked
from tests.page.browser import Person
from tests.page.stack import PageStack
from tests.page.test_small_and_old import with_a_careful_tool
from tests.support.provider import Calls, Says


async def focus_is_seen(page: Page) -> None:
    """What has the focus shows it, by an outline or as a field with a caret."""
    shown = await page.evaluate(
        """() => {
          const at = document.activeElement
          if (!at || at === document.body || at.id === 'main') return true
          const style = getComputedStyle(at)
          const drawn = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1
          const inner = at.firstElementChild && getComputedStyle(at.firstElementChild).backgroundColor
          return drawn || at.matches('[role=separator]') && inner !== 'rgba(0, 0, 0, 0)' || at.outerHTML.slice(0, 200)
        }"""
    )
    assert shown is True, f"the focus is not seen: {shown}"


async def tab_to(person: Person, name: str | re.Pattern[str], role: str = "button", key: str = "Tab") -> None:
    """Press Tab until something has the focus."""
    for _ in range(60):
        await person.presses(key)
        await focus_is_seen(person.page)
        focused = person.page.locator(":focus")
        if await focused.count() and await person.page.get_by_role(role, name=name).and_(focused).count():  # type: ignore[arg-type]  # a role by name
            return
    raise AssertionError(f"Tab never came to {name!r}")


async def test_an_approval_is_given_by_keys(stack: PageStack, ada: Person) -> None:
    agent = with_a_careful_tool(f"http://{LOOPBACK}:{free_port()}/reserve") | {"name": "careful-keys"}
    await stack.caller.push(agent)
    model = stack.model("careful")
    session_id = await ada.start("careful-keys")
    await expect(ada.turn(0)).to_contain_text("Good day")
    model.script(Calls("reserve", json.dumps({"article": "umbrella"})), Says("It is reserved."))
    await ada.presses("i")
    await page_type(ada, "Keep an umbrella for me")
    await ada.presses("Enter")
    await ada.sees("May the agent use")
    await expect(ada.page.locator("[data-region=urgent]")).to_contain_text("The agent asks to use reserve.")
    await ada.has_no_violations()
    await tab_to(ada, "Allow", key="Shift+Tab")
    await ada.presses("Enter")
    await expect(ada.turn(1)).to_contain_text("It is reserved.")
    session = await stack.caller.session(session_id)
    assert session["turns"][-1]["assistant_message"]["text"] == "It is reserved."


async def page_type(person: Person, text: str) -> None:
    """Type where the focus is, once that is the composer."""
    await expect(person.composer).to_be_focused()
    await person.page.keyboard.type(text)


async def test_enter_that_confirms_a_word_of_an_input_method_sends_nothing(stack: PageStack, ada: Person) -> None:
    session = await talked(stack, shop("input-method", "first"), ("A question", "An answer."))
    await ada.open(f"/sessions/{session['id']}")
    await expect(ada.turn(1)).to_be_visible()
    await ada.composer.focus()
    devtools = await ada.page.context.new_cdp_session(ada.page)
    await devtools.send("Input.imeSetComposition", {"text": "こんにちは", "selectionStart": 5, "selectionEnd": 5})
    await ada.presses("Enter")
    await expect(ada.composer).to_have_value(re.compile("こんにちは"))
    await devtools.send("Input.insertText", {"text": "今日は"})
    await expect(ada.composer).to_have_value(re.compile("今日は"))
    assert len((await stack.caller.session(session["id"]))["turns"]) == 2
    await ada.composer.fill("今日は")
    await ada.presses("Enter")
    await expect(ada.turn(2)).to_contain_text("今日は")
