"""Story 2: a rewind folds turns away and refunds nothing; the tree's money is the ledger's."""

from decimal import Decimal

from playwright.async_api import Locator, expect

from tests.page.agents import cents, settled_conversation, shop
from tests.page.browser import Person
from tests.page.stack import PageStack
from tests.support.waiting import eventually

BAR = "3 turns kept out of sight"
EXCHANGES = tuple((f"Question {number}", f"Answer {number}.") for number in range(1, 6))


async def amount_of(row: Locator) -> Decimal:
    """What a row of the tree cost, as it is shown."""
    return Decimal((await row.locator(".text-money").last.inner_text()).removeprefix("$"))


async def test_a_rewind_folds_turns_and_refunds_nothing(stack: PageStack, ada: Person) -> None:
    session = await settled_conversation(stack, shop("rewinding", "first"), *EXCHANGES)
    assert session["cost"]["total"] == "0.0225"
    await ada.open(f"/sessions/{session['id']}?turn={session['turns'][2]['id']}&tab=cost")
    spent = ada.inspector.get_by_role("definition").first
    await expect(spent).to_have_text("$0.0225")
    await expect(ada.turn(2)).to_be_visible()
    await ada.presses("r")
    await ada.sees(BAR)
    await ada.sees("$0.0135 spent, stays spent")
    await expect(ada.turns).to_have_count(3)
    await expect(spent).to_have_text("$0.0225")
    await ada.sees("Out of sight after the rewind (3 turns)")
    await ada.has_no_violations()
    await ada.open(f"/sessions/{session['id']}?branch=hidden")
    await expect(ada.turn(5)).to_be_visible()
    await ada.sees("· 3 turns")
    await ada.open(f"/sessions/{session['id']}?turn={session['turns'][2]['id']}&tab=cost")
    await ada.sees(BAR)
    await ada.sees("$0.0135 spent, stays spent")
    await ada.presses("u")
    await expect(ada.turn(5)).to_be_visible()
    await expect(ada.page.get_by_text(BAR)).to_have_count(0)

    await ada.turn(2).click(position={"x": 200, "y": 10})
    await ada.presses("r")
    await ada.sees(BAR)
    stack.model("first").script(cents("Another answer."))
    await ada.says("Something else")
    await expect(ada.turn(3)).to_contain_text("Another answer.")
    after = await stack.settled(session["id"])
    assert Decimal(after["cost"]["total"]) == Decimal("0.027")

    await ada.presses("Escape", "g", "b")
    rows = ada.page.get_by_role("treegrid").get_by_role("row")
    await expect(rows).to_have_count(3)
    await expect(rows.filter(has=ada.page.get_by_text("active", exact=True))).to_have_count(1)
    await expect(rows.filter(has_text="discarded")).to_have_count(1)
    ledger = await stack.caller.items("/v1/usage/ledger", session=session["id"])
    billed = sum(Decimal(row["cost"]["total"]) for row in ledger)

    async def adds_up() -> bool:
        return sum([await amount_of(row) for row in await rows.all()]) == billed

    await eventually(adds_up)
    await ada.has_no_violations()
