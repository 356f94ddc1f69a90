"""Words are found in every turn of the open session, also in turns that are not on show."""

import re

from playwright.async_api import expect

from tests.page.agents import cents, settled_conversation, shop
from tests.page.browser import Person
from tests.page.stack import PageStack


async def test_commands_find_turns_of_other_branches(stack: PageStack, ada: Person) -> None:
    session = await settled_conversation(
        stack, shop("branched", "first"), ("A table", "For how many?"), ("For seven penguins", "With pleasure.")
    )
    first = session["turns"][1]["id"]
    await stack.caller.rewind(session["id"], first)
    stack.model("first").script(cents("For two, then."))
    await stack.caller.say(session["id"], "For two people")
    await stack.settled(session["id"])
    page = ada.page
    await ada.open(f"/sessions/{session['id']}")
    await expect(ada.turn(2)).to_contain_text("For two people")
    dialog = await ada.looks_for("PENGUINS")
    await expect(dialog.get_by_role("option")).to_have_text(re.compile(r"#2 For seven penguins · discarded$"))
    await ada.has_no_violations(within="dialog")
    await ada.presses("Enter")
    await expect(ada.turn(2)).to_contain_text("For seven penguins")
    await expect(ada.turn(2)).to_be_focused()
    await expect(page).to_have_url(re.compile(r"branch=br_"))
    await ada.sees(re.compile("^Discarded"))
    await ada.looks_for("nobody said this")
    await expect(dialog.get_by_text("Nothing fits.")).to_be_visible()
    await expect(dialog.get_by_text("Looking through all turns")).to_have_count(0)
