"""Story 10: a red suite is watched, read at the turn that the judge quotes, and replayed from there."""

import re
from decimal import Decimal

import pytest
import yaml
from playwright.async_api import Locator, expect

from tests.e2e.processes import CHECKOUT
from tests.page.agents import cents, shop
from tests.page.browser import Person
from tests.page.stack import PageStack
from tests.support.provider import Asked, Says, ScriptedModel
from tests.support.running_api import Json, done
from tests.support.waiting import eventually

REPEATS = 4
FAILING = ("fails-a-check", "fails-a-criterion")


def meant_to_fail() -> str:
    """The example suite, with the offline model in every part."""
    suite = yaml.safe_load((CHECKOUT / "examples" / "suites" / "meant-to-fail.yaml").read_text())
    models = {"model": "demo", "caller_model": "demo", "judge_model": "demo"}
    return yaml.safe_dump(suite | models | {"repeats": REPEATS}, sort_keys=False)


@pytest.mark.timeout(400)
async def test_a_red_suite_leads_to_the_turn_that_the_judge_quotes(stack: PageStack, ada: Person) -> None:
    page = ada.page
    await ada.open("/suites/new")
    await page.get_by_role("textbox", name=re.compile("suite", re.IGNORECASE)).first.fill(meant_to_fail())
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.wait_for_url("**/suites/sui_*")
    cells = page.get_by_role("gridcell")
    await expect(cells).to_have_count(3 * REPEATS)
    await stack.kill_api()
    await stack.start_api()
    await expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", str(3 * REPEATS), timeout=180_000)
    await expect(page.get_by_role("gridcell", name=re.compile("Failed"))).to_have_count(2 * REPEATS)
    await expect(page.get_by_role("gridcell", name=re.compile("Passed"))).to_have_count(REPEATS)

    await page.get_by_role("button", name=f"Failed {2 * REPEATS}").click()
    await expect(cells).to_have_count(2 * REPEATS)
    await page.get_by_role("button", name=re.compile("voucher for champagne")).click()
    await expect(cells).to_have_count(REPEATS)
    await ada.has_no_violations()
    assert "outcome=failed" in page.url
    await cells.first.click()
    run = page.get_by_role("complementary", name="Run 1 of fails-a-criterion")
    verdict = run.get_by_role("region", name="Verdict")
    await expect(verdict).to_contain_text("The agent offered a voucher for champagne on the balcony.")
    quote = verdict.get_by_role("button", name=re.compile(r"^#\d+$")).first
    await expect(quote).to_be_visible()
    index = int((await quote.inner_text()).removeprefix("#"))
    await quote.click()
    await expect(ada.turn(index)).to_have_attribute("data-selected", "true")
    await expect(ada.turn(index)).to_contain_text("quoted by the judge")
    await expect(ada.turn(index)).to_be_in_viewport()
    await ada.has_no_violations()

    suite_id = re.search(r"/suites/(sui_\w+)", page.url)
    assert suite_id
    report = done(await stack.caller.get(f"/v1/suites/{suite_id[1]}"), 200)
    assert report["progress"] | {"passed": REPEATS, "failed": 2 * REPEATS, "inconclusive": 0} == report["progress"]


PARKING = "There is parking behind the house."
VOUCHER = "We offer you a voucher for champagne on the balcony."
REPLAYS = 5
CLERK = "clerk"


class Clerk(ScriptedModel):
    """Answers as its instructions say: with the voucher where they speak of one."""

    def reply_to(self, asked: Asked) -> Says:
        """Write the request down, and choose its answer."""
        self.journal.append(asked)
        return cents(VOUCHER if "champagne" in asked.instructions else PARKING)


def clerk(prompt: str) -> Json:
    """A version of the agent."""
    return shop(
        "parking-clerk", CLERK, nodes={"counter": {"prompt": prompt, "greeting": "Good day, this is the shop."}}
    )


async def over(stack: PageStack, suite_id: str) -> Json:
    """A suite that has ended, with all its cost."""

    async def is_over() -> Json | None:
        suite = done(await stack.caller.get(f"/v1/suites/{suite_id}"), 200)
        return suite if suite["outcome"] else None

    suite = await eventually(is_over, within=60)
    assert suite is not None
    return suite


async def owed(stack: PageStack, suite_id: str) -> tuple[Decimal, list[list[str]]]:
    """The ledger rows of the sessions of a suite, and the turns that are paid in each."""
    runs = await stack.caller.items(f"/v1/suites/{suite_id}/runs")
    rows = [await stack.caller.items("/v1/usage/ledger", session=run["session_id"]) for run in runs]
    total = sum((Decimal(row["cost"]["total"]) for each in rows for row in each), Decimal(0))
    return total, [[row["turn_id"] for row in each if row["purpose"] == "turn"] for each in rows]


async def test_a_failed_call_is_replayed_against_a_new_version_until_it_is_seen_to_be_better(
    stack: PageStack, ada: Person
) -> None:
    page = ada.page
    stack.provider.add(Clerk(CLERK))
    await stack.caller.push(clerk("Tell the caller where to park."))
    scenario = {
        "id": "voucher",
        "goal": "Ask whether there is parking.",
        "success": ["The agent offered a voucher for champagne on the balcony."],
    }
    models = {"caller_model": "demo", "judge_model": "demo"}
    body = {"name": "parking", "agent": "parking-clerk", "repeats": 1, **models, "scenarios": [scenario]}
    red = await over(stack, done(await stack.caller.post("/v1/suites", body), 201)["id"])
    assert red["outcome"] == "failed"
    before, _ = await owed(stack, red["id"])
    await stack.caller.push(clerk("Tell the caller where to park, and offer champagne on the balcony."))

    await ada.open(f"/suites/{red['id']}")
    await page.get_by_role("gridcell", name="voucher, run 1: Failed").click()
    run = page.get_by_role("complementary", name="Run 1 of voucher")
    quote = run.get_by_role("region", name="Verdict").get_by_role("button", name=re.compile(r"^#\d+$")).first
    await expect(quote).to_be_visible()
    quoted = int((await quote.inner_text()).removeprefix("#"))
    await quote.click()
    await expect(ada.turn(quoted)).to_have_attribute("data-selected", "true")
    await run.get_by_role("button", name="Replay from here").click()
    dialog = page.get_by_role("dialog", name="Replay from here")
    await expect(dialog.get_by_label("From").locator("option:checked")).to_contain_text(f"after #{quoted - 1}")
    await expect(dialog.get_by_label("Version")).to_have_attribute("placeholder", "2, the newest")
    await dialog.get_by_text("What version 2 changed since version 1").click()
    await expect(dialog).to_contain_text("champagne")
    await dialog.get_by_label("Repeats").fill("50")
    await expect(dialog.get_by_role("button", name="Replay 20 times")).to_be_enabled()
    await dialog.get_by_label("Repeats").fill(str(REPLAYS))
    await ada.has_no_violations()
    await dialog.get_by_role("button", name=f"Replay {REPLAYS} times").click()

    await page.wait_for_url("**/compare?*")
    found = re.search(r"suite=(sui_\w+)", page.url)
    assert found
    verdict = page.get_by_role("status").filter(has_text="was")
    await expect(verdict).to_contain_text("now 5 of 5 passed (95 %: 0.57\N{EN DASH}1.00)")
    await is_seen_side_by_side(ada, verdict)
    green = await over(stack, found[1])
    assert green["progress"]["passed"] == REPLAYS
    paid, turns = await owed(stack, green["id"])
    assert paid == Decimal(green["progress"]["cost"]["total"]) > 0
    assert (await owed(stack, red["id"]))[0] == before == Decimal(red["progress"]["cost"]["total"]), (
        "the past is paid once"
    )
    for run_of_turns, entry in zip(turns, await stack.caller.items(f"/v1/suites/{green['id']}/runs"), strict=True):
        assert len(run_of_turns) == entry["turn_count"] - quoted, "turns before the quote cost nothing again"


async def is_seen_side_by_side(ada: Person, verdict: Locator) -> None:
    """The failure stands at the left, one replay after the other at the right, and what differs is marked."""
    page = ada.page
    await expect(page.get_by_role("group", name="Turns of both sides")).to_contain_text(VOUCHER)
    await expect(page.get_by_role("group", name="Turns of both sides")).to_contain_text(PARKING)
    await expect(page.locator("mark").first).to_be_visible()
    await expect(page.get_by_role("region", name="Left side")).to_contain_text("v1")
    await expect(page.get_by_role("region", name="Right side")).to_contain_text("v2")
    await expect(verdict).to_contain_text("1 / 5")
    await verdict.get_by_role("button", name="Replay 3: Passed").click()
    await expect(verdict).to_contain_text("3 / 5")
    await expect(page.get_by_role("group", name="Turns of both sides")).to_contain_text(VOUCHER)
    await ada.has_no_violations()
