"""Story 9: two lanes of a tree beside each other: what they share, where they differ, and what each cost."""

from playwright.async_api import Locator, expect

from tests.page.agents import cents, settled_conversation, shop
from tests.page.browser import Person
from tests.page.conftest import Opens
from tests.page.stack import PageStack

EXCHANGES = (
    ("Are you open on Monday?", "We are closed on Monday."),
    ("And on Tuesday?", "We open at nine on Tuesday."),
    ("Thank you.", "You are welcome."),
)


async def marked(person: Person) -> list[str]:
    """The words that are marked as different, top to bottom."""
    return [word.strip() for word in await person.page.locator("mark").all_inner_texts()]


async def test_two_lanes_are_compared_turn_by_turn(stack: PageStack, ada: Person, opens: Opens) -> None:
    session = await settled_conversation(stack, shop("comparing", "first"), *EXCHANGES)
    await stack.caller.rewind(session["id"], session["turns"][1]["id"])
    stack.model("first").script(cents("We open at ten on Tuesday.", completion_tokens=200))
    await stack.caller.say(session["id"], "And on Tuesday?")
    await stack.settled(session["id"])

    await ada.open(f"/sessions/{session['id']}/branches")
    rows = ada.page.get_by_role("treegrid").get_by_role("row")
    await expect(rows).to_have_count(3)
    discarded = rows.filter(has_text="discarded")
    await discarded.focus()
    await ada.presses(" ")
    active = rows.filter(has=ada.page.get_by_text("active", exact=True))
    await active.focus()
    await ada.presses(" ")
    await expect(ada.page.get_by_role("button", name="Compare both")).to_be_enabled()
    await ada.presses("Enter")
    await ada.page.wait_for_url("**/compare?*")

    async def looks_right(person: Person) -> tuple[Locator, Locator]:
        left = person.page.get_by_role("region", name="Left side")
        right = person.page.get_by_role("region", name="Right side")
        await expect(person.page.get_by_role("button", name="2 turns in common")).to_be_visible()
        await expect(left).to_contain_text("$0.0090")
        await expect(right).to_contain_text("$0.0060 (\N{MINUS SIGN}$0.0030)")
        await expect(person.page.locator("mark")).to_have_count(2)
        assert await marked(person) == ["nine", "ten"]
        await expect(person.page.get_by_text("No turn on this side")).to_have_count(1)
        return left, right

    left, _ = await looks_right(ada)
    await ada.has_no_violations()
    await ada.presses("d")
    await expect(ada.page.locator("mark")).to_have_count(0)
    await ada.presses("d", "s")
    await expect(ada.page.get_by_role("group", name="Turns of the left side")).to_be_visible()
    await ada.presses("s")
    await expect(ada.page.get_by_role("group", name="Turns of both sides")).to_be_visible()

    elsewhere = await opens()
    await elsewhere.open(ada.path)
    await looks_right(elsewhere)
    await left.get_by_role("link").click()
    await ada.page.wait_for_url("**/sessions/ses_*")
    await expect(ada.turn(3)).to_contain_text("You are welcome.")
    await ada.sees("Discarded")
