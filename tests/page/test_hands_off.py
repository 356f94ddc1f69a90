"""Story 11: without a mouse and without sight: keys alone, a visible focus, each reply read aloud once."""

import json
import re

from playwright.async_api import Locator, Page, expect

from playhead.temporal.dev_server import LOOPBACK
from tests.page.agents import settled_conversation, shop
from tests.page.browser import Person
from tests.page.stack import HOUSE, PageStack
from tests.page.test_small_and_old import agent_with_an_approval
from tests.support.ports import free_port
from tests.support.provider import TextReply, ToolCallReply
from tests.support.waiting import eventually

READ_ALOUD = """() => {
  const region = document.querySelector('[data-region=polite]')
  window.readAloud = []
  new MutationObserver(() => region.textContent && window.readAloud.push(region.textContent))
    .observe(region, { childList: true, characterData: true, subtree: true })
}"""
"""Records what the page's one polite live region announces."""


async def focus_is_seen(page: Page) -> None:
    """The focused element shows it, by an outline or, if it is a separator, by a colour."""
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


async def tab_to(person: Person, wanted: Locator, key: str = "Tab") -> None:
    """Press Tab until something has the focus."""
    for _ in range(60):
        await person.presses(key)
        await focus_is_seen(person.page)
        if await wanted.and_(person.page.locator(":focus")).count():
            return
    raise AssertionError(f"Tab never came to {wanted}")


async def test_a_whole_conversation_is_held_by_keys_and_read_aloud(stack: PageStack, ada: Person) -> None:
    await starts(ada)
    await talks(stack, ada)
    await goes_back(stack, ada)
    await finds_exports_and_ends(ada)


async def starts(ada: Person) -> None:
    """From the root address to the greeting."""
    page = ada.page
    await ada.open("/")
    await expect(page.get_by_role("link", name="New session").first).to_be_visible()
    await ada.presses("n")
    await page.wait_for_url("**/sessions/new")
    agent = page.get_by_role("main").get_by_label("Agent")
    await expect(agent).to_be_visible()
    await tab_to(ada, agent)
    await page.keyboard.type("booking")
    await expect(agent).to_have_value("booking-line")
    await expect(page.get_by_label("first_name")).to_be_visible()
    await tab_to(ada, page.get_by_role("textbox", name="first_name"))
    await page.keyboard.type("Ada")
    await ada.presses("Enter")
    await page.wait_for_url("**/sessions/ses_*")
    await expect(ada.turn(0)).to_contain_text("Hello Ada, this is Osteria Fiorella.")


async def talks(stack: PageStack, ada: Person) -> None:
    """Two messages; letters are text and no shortcuts, and each reply is read aloud once."""
    page = ada.page
    await page.evaluate(READ_ALOUD)
    stack.model(HOUSE).script(ToolCallReply("to_booking"), TextReply("For which day?"), TextReply("At what time?"))
    await ada.presses("i")
    await expect(ada.composer).to_be_focused()
    await page.keyboard.type("A table, please. jkgg?n")
    await ada.presses("Enter")
    await expect(ada.turn(1)).to_contain_text("For which day?")
    await expect(ada.turn(1)).to_contain_text("A table, please. jkgg?n")
    await page.keyboard.type("Friday")
    await ada.presses("Enter")
    await expect(ada.turn(2)).to_contain_text("At what time?")

    async def replies_read() -> str:
        """All replies that were read; those that one frame of the browser shows are read together."""
        announced: list[str] = await page.evaluate("window.readAloud")
        return " ".join(each for each in announced if each != "Agent is answering")

    async def last_was_read() -> bool:
        return "Agent: At what time?" in await replies_read()

    await eventually(last_was_read, within=60)
    assert await replies_read() == "Agent: For which day? Agent: At what time?"


async def goes_back(stack: PageStack, ada: Person) -> None:
    """A rewind, other words, and a look at the words before."""
    page = ada.page
    await ada.presses("Escape", "k")
    await expect(ada.turn(1)).to_be_focused()
    await focus_is_seen(page)
    await ada.presses("r")
    await ada.sees("1 turn kept out of sight")
    stack.model(HOUSE).script(TextReply("At what time on Saturday?"))
    await ada.presses("i")
    await page.keyboard.type("Saturday")
    await ada.presses("Enter")
    await expect(ada.turn(2)).to_contain_text("At what time on Saturday?")
    await expect(ada.turn(2).get_by_role("button", name="Stop")).to_have_count(0)
    await ada.presses("Escape", "G", "ArrowLeft")
    await expect(ada.turn(2)).to_contain_text("Friday")
    await ada.presses("ArrowRight")
    await expect(ada.turn(2)).to_contain_text("Saturday")


async def finds_exports_and_ends(ada: Person) -> None:
    """Find, export and end."""
    page = ada.page
    await ada.presses("/")
    await page.keyboard.type("time")
    await ada.presses("Enter")
    await expect(page.get_by_role("search").get_by_role("status")).to_have_text("1 / 1")
    await ada.presses("Escape")
    await expect(page.get_by_role("search")).to_have_count(0)

    await chooses(ada, "Export as text")
    async with page.expect_download() as exported:
        await ada.presses("Enter")
    assert "Saturday" in (await (await exported.value).path()).read_text()
    await chooses(ada, "End the session")
    await ada.presses("Enter")
    await ada.sees("Ended: the caller hung up")
    await tab_to(ada, page.get_by_role("button", name="Fork"))


async def test_an_approval_is_given_by_keys(stack: PageStack, ada: Person) -> None:
    agent = agent_with_an_approval(f"http://{LOOPBACK}:{free_port()}/reserve") | {"name": "careful-keys"}
    await stack.caller.push(agent)
    model = stack.model("careful")
    session_id = await ada.start("careful-keys")
    await expect(ada.turn(0)).to_contain_text("Good day")
    model.script(ToolCallReply("reserve", json.dumps({"article": "umbrella"})), TextReply("It is reserved."))
    await ada.presses("i")
    await page_type(ada, "Keep an umbrella for me")
    await ada.presses("Enter")
    await ada.sees("May the agent use")
    await expect(ada.page.locator("[data-region=urgent]")).to_contain_text("The agent asks to use reserve.")
    await ada.has_no_violations()
    await tab_to(ada, ada.page.get_by_role("button", name="Allow"), key="Shift+Tab")
    await ada.presses("Enter")
    await expect(ada.turn(1)).to_contain_text("It is reserved.")
    session = await stack.caller.session(session_id)
    assert session["turns"][-1]["assistant_message"]["text"] == "It is reserved."


async def chooses(person: Person, label: str) -> None:
    """Open the commands and type a name; the command of that name comes first."""
    dialog = await person.looks_for(label)
    await expect(dialog.get_by_role("option").first).to_contain_text(label)


async def page_type(person: Person, text: str) -> None:
    """Type into the composer, once it has the focus."""
    await expect(person.composer).to_be_focused()
    await person.page.keyboard.type(text)


async def test_enter_during_an_input_method_composition_sends_nothing(stack: PageStack, ada: Person) -> None:
    session = await settled_conversation(stack, shop("input-method", "first"), ("A question", "An answer."))
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
