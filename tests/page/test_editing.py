"""Story 3: an edit happens in its place, keeps the draft, and what it replaced can be shown and restored."""

import re

from playwright.async_api import expect

from tests.page.agents import cents, settled_conversation, shop
from tests.page.browser import Person
from tests.page.stack import PageStack
from tests.support.waiting import eventually

EXCHANGES = tuple((f"Question {number}", f"Answer {number}.") for number in range(1, 5))


async def top_of(ada: Person, index: int) -> float:
    """The pixel at which a turn begins."""
    box = await ada.turn(index).bounding_box()
    assert box
    return box["y"]


async def test_an_edit_keeps_the_draft_and_the_old_words_are_one_key_away(stack: PageStack, ada: Person) -> None:
    session = await settled_conversation(stack, shop("editing", "first"), *EXCHANGES)
    await ada.open(f"/sessions/{session['id']}")
    await expect(ada.turn(4)).to_be_visible()
    await ada.composer.fill("half a li")
    await ada.turn(3).click(position={"x": 200, "y": 10})
    await ada.presses("e")
    field = ada.page.get_by_role("textbox", name="Edit turn 3")
    await expect(field).to_be_focused()
    await ada.sees("This and 1 later turn ($0.0090) become a branch.")
    stack.model("first").script(cents("Answer to the other question."))
    await field.fill("The other question")
    await field.press("Control+Enter")
    await expect(ada.turn(3)).to_contain_text("Answer to the other question.")
    await expect(ada.composer).to_have_value("half a li")
    await expect(ada.turn(3).get_by_label("Version 2 of 2")).to_be_visible()
    await expect(ada.turns).to_have_count(4)

    await ada.turn(3).click(position={"x": 200, "y": 10})
    await expect(ada.turn(3)).to_have_attribute("data-selected", "true")
    before = await top_of(ada, 3)
    await ada.presses("ArrowLeft")
    await expect(ada.turn(3)).to_contain_text("Answer 3.")
    await expect(ada.turn(3).get_by_label("Version 1 of 2")).to_be_visible()

    async def is_in_its_place() -> bool:
        return abs(await top_of(ada, 3) - before) <= 1

    await eventually(is_in_its_place)
    await expect(ada.composer).to_have_count(0)
    await ada.sees(re.compile(r"Discarded \d\d:\d\d"))
    await ada.has_no_violations()
    await ada.page.reload()
    await expect(ada.turn(3)).to_contain_text("Answer 3.")
    await ada.sees(re.compile(r"2 turns · \$0\.0090"))
    await ada.page.get_by_role("button", name="Make active").click()
    await expect(ada.composer).to_have_value("half a li")
    await expect(ada.turn(4)).to_contain_text("Answer 4.")
    now = await stack.caller.session(session["id"])
    assert [turn["id"] for turn in now["turns"]] == [turn["id"] for turn in session["turns"]]
