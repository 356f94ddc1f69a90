"""Story 12: a telephone, large letters, forced colours, a missing key, a Temporal that is down, an erased session."""

import re
from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from playhead.services.dev_stack import DEV_ORGANIZATION
from playhead.temporal.dev_server import LOOPBACK
from store.api_keys import KeyStore
from tests.page.agents import settled_conversation, shop
from tests.page.browser import NARROW, Person
from tests.page.conftest import Opens
from tests.page.stack import PageStack
from tests.support.ports import free_port
from tests.support.provider import TextReply, ToolCallReply

PHONE: Final[dict[str, Any]] = {"viewport": NARROW, "has_touch": True, "is_mobile": True}
SMALL_TARGETS = """() => [...document.querySelectorAll(
    'button, a[href], select, textarea, summary, input:not([type=hidden]), [role=tab], [role=menuitem]')]
  .map(each => each.matches('input[type=checkbox], input[type=radio]') ? each.closest('label') ?? each : each)
  .filter(each => each.checkVisibility({ visibilityProperty: true }) && !each.closest('.sr-only'))
  .map(each => ({ html: each.outerHTML.slice(0, 160), ...each.getBoundingClientRect().toJSON() }))
  .filter(({ width, height }) => width > 2 && height > 2 && (width < 43.5 || height < 43.5))
  .map(({ html, width, height }) => `${Math.round(width)} x ${Math.round(height)}: ${html}`)"""
"""Touch targets that are smaller than 44 px."""


TOO_WIDE = """spacing => {
  const root = document.scrollingElement
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(spacing ? '* { letter-spacing: 0.12em !important; word-spacing: 0.16em !important }' : '')
  document.adoptedStyleSheets = [sheet]
  const found = root.scrollWidth <= root.clientWidth ? null : [...document.body.querySelectorAll('*')]
    .filter(each => each.getBoundingClientRect().right > root.clientWidth + 0.5)
    .map(each => `${Math.round(each.getBoundingClientRect().right)}: ${each.outerHTML.slice(0, 160)}`).slice(0, 8)
  document.adoptedStyleSheets = []
  return found
}"""
"""The elements that reach over the right edge. With spacing, letters are as far apart as WCAG 1.4.12 asks for."""


async def fits(page: Page) -> None:
    """Nothing scrolls sideways, whatever font the letters are of."""
    for spacing in (False, True):
        wide = await page.evaluate(TOO_WIDE, spacing)
        assert wide is None, f"{page.url} is too wide{' for wide letters' if spacing else ''}:\n" + "\n".join(wide)


async def suits_a_finger(page: Page) -> None:
    """Nothing scrolls sideways, and every target is as large as a fingertip."""
    await fits(page)
    small = await page.evaluate(SMALL_TARGETS)
    assert not small, f"at {page.url}:\n" + "\n".join(small)


def agent_with_an_approval(service: str) -> dict[str, object]:
    """An agent that asks a person before it uses its tool."""
    tool = {
        "kind": "http",
        "description": "Reserves an article.",
        "parameters": {"type": "object", "properties": {"article": {"type": "string"}}},
        "url": service,
        "approval": {"reason": "It costs a fee."},
    }
    return shop("careful", "careful", tools={"reserve": tool}) | {
        "nodes": {"counter": {"prompt": "Help.", "greeting": "Good day, this is the shop.", "tools": ["reserve"]}}
    }


async def test_everything_is_done_with_a_thumb(stack: PageStack, opens: Opens) -> None:
    await stack.caller.push(agent_with_an_approval(f"http://{LOOPBACK}:{free_port()}/reserve"))
    model = stack.model("careful")
    ada = await opens(**PHONE)
    page = ada.page
    await ada.open("/")
    await page.get_by_role("link", name="New session").first.tap()
    await page.get_by_role("main").get_by_label("Agent").select_option("careful")
    await suits_a_finger(page)
    await page.get_by_role("button", name="Start", exact=True).tap()
    await expect(ada.turn(0)).to_contain_text("Good day")
    for number in (1, 2):
        model.script(TextReply(f"Answer {number}."))
        await ada.composer.fill(f"Question {number}")
        await page.get_by_role("button", name="Send", exact=True).tap()
        await expect(ada.turn(number)).to_contain_text(f"Answer {number}.")
    await suits_a_finger(page)

    await ada.turn(1).get_by_role("button", name="More for this turn").tap()
    await page.get_by_role("menuitem", name=re.compile("^Rewind to here")).tap()
    await ada.sees("1 turn kept out of sight")
    model.script(TextReply("Another answer."))
    await ada.composer.fill("Another question")
    await page.get_by_role("button", name="Send", exact=True).tap()
    await expect(ada.turn(2)).to_contain_text("Another answer.")
    await ada.turn(2).get_by_role("button", name="Version before").tap()
    await expect(ada.turn(2)).to_contain_text("Answer 2.")
    await suits_a_finger(page)
    await page.get_by_role("button", name="Back to active").tap()
    await expect(ada.turn(2)).to_contain_text("Another answer.")

    await page.get_by_role("button", name="Inspect").tap()
    await expect(page.get_by_role("tab", name="Why")).to_be_visible()
    await suits_a_finger(page)
    await ada.has_no_violations()
    await page.get_by_role("button", name="Talk").tap()

    model.script(ToolCallReply("reserve", '{"article": "umbrella"}'), TextReply("That did not work, I am sorry."))
    await ada.composer.fill("Keep an umbrella for me")
    await page.get_by_role("button", name="Send", exact=True).tap()
    await ada.sees("May the agent use")
    await ada.sees("It costs a fee.")
    await suits_a_finger(page)
    await page.get_by_role("button", name="Allow", exact=True).tap()
    await expect(ada.turn(3)).to_contain_text("I am sorry.")
    await page.get_by_role("button", name="List").tap()
    await suits_a_finger(page)
    await ada.open(f"/sessions/{ada.session_id}")
    await expect(ada.turn(3)).to_be_in_viewport()
    for path in ("/suites", "/agents", "/usage", "/settings", f"/sessions/{ada.session_id}/branches"):
        await ada.open(path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await suits_a_finger(page)


async def test_large_letters_and_forced_colours_leave_everything_in_its_place(stack: PageStack, opens: Opens) -> None:
    session = await settled_conversation(stack, shop("large-letters", "first"), ("A question", "An answer."))
    for width, height in ((640, 450), (320, 568)):
        ada = await opens(viewport={"width": width, "height": height})
        for path in (f"/sessions/{session['id']}", "/sessions", "/agents/booking-line", "/usage", "/settings"):
            await ada.open(path)
            await expect(ada.page.get_by_role("heading", level=1).first).to_be_attached()
            await fits(ada.page)
    ada = await opens(forced_colors="active")
    await ada.open(f"/sessions/{session['id']}")
    await expect(ada.turn(1)).to_contain_text("An answer.")
    shape = ada.page.get_by_role("img", name="Your turn").first
    await expect(shape).to_be_visible()
    ground = await ada.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert await shape.evaluate("shape => getComputedStyle(shape).color") != ground


async def test_a_missing_key_is_asked_for_and_works_at_once(stack: PageStack, opens: Opens) -> None:
    session = await settled_conversation(stack, shop("keyed", "first"), ("A question", "An answer."))
    _, secret = await KeyStore(stack.database).create(DEV_ORGANIZATION, "page")
    async with stack.another_api(keyless=False) as url:
        ada = await opens(origin=url)
        await ada.open(f"/sessions/{session['id']}")
        dialog = ada.page.get_by_role("dialog", name="A key is needed")
        await expect(dialog).to_be_visible()
        await ada.has_no_violations()
        await dialog.get_by_label("Key", exact=True).fill(secret)
        await dialog.get_by_role("button", name="Use it").click()
        await expect(ada.turn(1)).to_contain_text("An answer.")
        await expect(dialog).to_have_count(0)
        assert secret not in ada.page.url
        assert secret not in await ada.page.evaluate("JSON.stringify(localStorage)"), (
            "the key is kept for this tab only"
        )


@pytest.mark.timeout(400)
async def test_without_temporal_sessions_stay_readable_and_commands_say_why_they_fail(
    stack: PageStack, opens: Opens
) -> None:
    session = await settled_conversation(stack, shop("temporal-down", "first"), ("A question", "An answer."))
    async with stack.another_api(keyless=True, temporal_address=f"{LOOPBACK}:{free_port()}") as url:
        ada = await opens(origin=url)
        await ada.open(f"/sessions/{session['id']}")
        await expect(ada.turn(1)).to_contain_text("An answer.")
        await ada.says("Is anybody there?")
        await ada.sees("not taken yet; it is sent again by itself (unavailable)")
        await ada.turn(0).click(position={"x": 200, "y": 10})
        await ada.presses("r")
        await ada.sees("Nothing was accepted. It goes on by itself when the service is back.")


async def test_an_erased_session_is_shown_as_missing(stack: PageStack, ada: Person) -> None:
    session = await settled_conversation(stack, shop("erased", "first"), ("A question", "An answer."))
    erased = await stack.caller.http.delete(f"/v1/sessions/{session['id']}")
    assert erased.is_success, erased.text
    await ada.open(f"/sessions/{session['id']}")
    await ada.sees("This session is not here")
    await ada.has_no_violations()
    await ada.page.get_by_role("main").get_by_role("link", name="To the sessions").click()
    await ada.page.wait_for_url("**/sessions")
