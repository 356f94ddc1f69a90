"""Story 6: two people in one session see each other's turns, and neither overwrites the other's."""

import re

from playwright.async_api import expect

from tests.page.agents import cents, settled_conversation, shop
from tests.page.conftest import Opens
from tests.page.stack import PageStack

EXCHANGES = tuple((f"Question {number}", f"Answer {number}.") for number in range(1, 4))


async def test_two_people_in_one_session_see_and_do_not_overwrite_each_other(stack: PageStack, opens: Opens) -> None:
    session = await settled_conversation(stack, shop("two-people", "first"), *EXCHANGES)
    path = f"/sessions/{session['id']}?turn={session['turns'][1]['id']}"
    ada, ben = await opens(), await opens()
    await ada.open(path)
    await ben.open(path)
    await expect(ada.turn(1)).to_have_attribute("data-selected", "true")
    before = await ada.turn(1).bounding_box()
    await ada.presses("e")
    field = ada.page.get_by_role("textbox", name="Edit turn 1")
    await expect(field).to_be_focused()
    await field.fill("The first question, put better")

    stack.model("first").script(cents("An answer for Ben."))
    await ben.says("A question of Ben's")
    await expect(ben.turn(4)).to_contain_text("An answer for Ben.")
    await expect(ada.turn(4)).to_contain_text("An answer for Ben.")
    await expect(ada.turn(1)).to_have_attribute("data-selected", "true")
    after = await ada.turn(1).bounding_box()
    assert before
    assert after
    assert after["y"] == before["y"], "what Ada reads has moved"

    await field.press("Control+Enter")
    await ada.sees(re.compile(r"\d changes? came first"))
    await expect(field).to_have_value("The first question, put better")
    await ada.has_no_violations()
    unchanged = await stack.caller.session(session["id"])
    assert len(unchanged["turns"]) == 5
    stack.model("first").script(cents("A better answer."))
    await ada.page.get_by_role("button", name="Edit all the same").click()
    await expect(ada.turn(1)).to_contain_text("A better answer.")
    await expect(ben.turn(1)).to_contain_text("A better answer.")
    await expect(ben.turns).to_have_count(2)

    await stack.settled(session["id"])
    await ben.turn(0).click(position={"x": 200, "y": 10})
    await ben.presses("r")
    await ben.sees("1 turn kept out of sight")
    await ada.sees("1 turn kept out of sight")
    await ada.sees("Somebody else rewound this session to #0.")
    await expect(ben.page.get_by_text("Somebody else")).to_have_count(0)
