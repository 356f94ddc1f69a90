"""Story 10: a tester tries an agent, reads a red suite at the turn that the judge quotes, and replays it from there."""

import re
from decimal import Decimal

import pytest
import yaml
from playwright.async_api import Locator, expect

from tests.e2e.processes import CHECKOUT
from tests.page.agents import cents, shop
from tests.page.browser import Person
from tests.page.stack import PageStack
from tests.support.provider import ProviderRequest, ScriptedModel, TextReply
from tests.support.running_api import Json, done
from tests.support.waiting import eventually

REPEATS = 20
FAILING = ("fails-a-check", "fails-a-criterion")


def meant_to_fail() -> str:
    """The example suite, with the demo model in every role; its simulated users ask one short question each."""
    suite = yaml.safe_load((CHECKOUT / "examples" / "suites" / "meant-to-fail.yaml").read_text())
    models = {"model": "demo", "caller_model": "demo", "judge_model": "demo"}
    *booking, asking = suite["scenarios"]
    short = [{**each, "goal": asking["goal"], "facts": {}, "success": ["The agent said parking."]} for each in booking]
    return yaml.safe_dump({**suite, **models, "scenarios": [*short, asking]}, sort_keys=False)


@pytest.mark.timeout(400)
async def test_a_red_suite_leads_to_the_turn_that_the_judge_quotes(stack: PageStack, ada: Person) -> None:
    page = ada.page
    await ada.open("/suites/new")
    await page.get_by_role("textbox", name=re.compile("suite", re.IGNORECASE)).first.fill(meant_to_fail())
    await page.get_by_label("Repeats").fill(str(REPEATS))
    await page.get_by_label("At a time").fill(str(REPEATS))
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
CRITERION = "The agent offered a voucher for champagne on the balcony."
REPLAYS = 5
MAX_REPLAYS = 20
CLERK = "clerk"


class Clerk(ScriptedModel):
    """Offers the voucher if its instructions mention champagne."""

    def reply_to(self, asked: ProviderRequest) -> TextReply:
        """Write the request down, and choose its answer."""
        self.journal.append(asked)
        return cents(VOUCHER if "champagne" in asked.instructions else PARKING)


def clerk(prompt: str) -> str:
    """A version of the agent, as its file."""
    nodes = {"counter": {"prompt": prompt, "greeting": "Good day, this is the shop."}}
    return yaml.safe_dump(shop("parking-clerk", CLERK, nodes=nodes), sort_keys=False)


async def ended_suite(stack: PageStack, suite_id: str) -> Json:
    """A suite that has ended, with all its cost."""

    async def is_over() -> Json | None:
        suite = done(await stack.caller.get(f"/v1/suites/{suite_id}"), 200)
        return suite if suite["outcome"] else None

    suite = await eventually(is_over, within=60)
    assert suite is not None
    return suite


async def billed(stack: PageStack, suite_id: str) -> tuple[Decimal, list[list[str]]]:
    """The total of the ledger rows of a suite's sessions, and the turns billed in each session."""
    runs = await stack.caller.items(f"/v1/suites/{suite_id}/runs")
    rows = [await stack.caller.items("/v1/usage/ledger", session=run["session_id"]) for run in runs]
    total = sum((Decimal(row["cost"]["total"]) for each in rows for row in each), Decimal(0))
    return total, [[row["turn_id"] for row in each if row["purpose"] == "turn"] for each in rows]


async def test_a_tester_finds_out_whether_a_new_version_is_better(stack: PageStack, ada: Person) -> None:
    stack.provider.add(Clerk(CLERK))
    await uploads(ada, clerk("Tell the caller where to park."))
    await talks_goes_back_edits_and_compares(ada)
    red = await runs_a_suite(stack, ada)
    before, _ = await billed(stack, red["id"])
    await uploads(ada, clerk("Tell the caller where to park, and offer champagne on the balcony."))
    await expect(ada.page.get_by_role("heading", name="Since version 1")).to_be_visible()

    quoted = await opens_the_failed_call(ada, red["id"])
    green = await replays(stack, ada, quoted)
    await is_seen_side_by_side(ada)
    paid, turns = await billed(stack, green["id"])
    assert paid == Decimal(green["progress"]["cost"]["total"]) > 0
    assert (await billed(stack, red["id"]))[0] == before == Decimal(red["progress"]["cost"]["total"]), (
        "copied turns are billed once"
    )
    for run_of_turns, entry in zip(turns, await stack.caller.items(f"/v1/suites/{green['id']}/runs"), strict=True):
        assert len(run_of_turns) == entry["turn_count"] - quoted, "turns before the quote cost nothing again"

    await opens_the_failed_call(ada, red["id"])
    await replays_as_often_as_possible(stack, ada)


async def uploads(ada: Person, definition: str) -> None:
    """Store a version of the agent, and see it."""
    page = ada.page
    await ada.open("/")
    await page.get_by_role("link", name="Agents", exact=True).click()
    await page.get_by_role("link", name="Upload").click()
    await page.get_by_role("textbox", name=re.compile("definition")).fill(definition)
    await page.get_by_role("button", name="Store it").click()
    await expect(page.get_by_role("heading", level=1, name="parking-clerk")).to_be_visible()


async def talks_goes_back_edits_and_compares(ada: Person) -> None:
    """Two questions; the second is rewound and replaced, the first is edited; both branches are compared."""
    page = ada.page
    await page.get_by_role("link", name="Talk to it").click()
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(ada.turn(0)).to_contain_text("Good day")
    for index, question in enumerate(("Where can I park?", "Also on Sundays?"), start=1):
        await ada.says(question)
        await expect(ada.turn(index)).to_contain_text(PARKING)
        await expect(ada.page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    await ada.turn(1).hover()
    await ada.turn(1).get_by_role("button", name="Rewind to here").click()
    await ada.sees("1 turn kept out of sight")
    await ada.says("Also at night?")
    await expect(ada.turn(2)).to_contain_text("Also at night?")
    await expect(ada.turn(2)).to_contain_text(PARKING)
    await expect(ada.page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    await ada.turn(1).hover()
    await ada.turn(1).get_by_role("button", name="Edit and send again").click()
    await page.get_by_role("textbox", name="Edit turn 1").fill("Where can I leave my car?")
    await page.get_by_role("button", name="Send again", exact=True).click()
    await expect(ada.turn(1)).to_contain_text("Where can I leave my car?")
    await expect(ada.turn(1)).to_contain_text(PARKING)
    await expect(ada.turns).to_have_count(2)
    await ada.turn(1).get_by_role("button", name="Version before").click()
    await expect(ada.turn(2)).to_contain_text("Also at night?")
    await page.get_by_role("link", name="Compare with active").click()
    await page.wait_for_url("**/compare?*")
    await expect(page.get_by_role("button", name="1 turn in common")).to_be_visible()
    await expect(page.locator("mark").first).to_be_visible()
    await ada.has_no_violations()


async def runs_a_suite(stack: PageStack, ada: Person) -> Json:
    """Start a suite of one scenario, and see it fail."""
    page = ada.page
    scenario = {"id": "voucher", "goal": "Ask whether there is parking.", "success": [CRITERION]}
    models = {"caller_model": "demo", "judge_model": "demo"}
    suite = {"name": "parking", "agent": "parking-clerk", "repeats": 1, **models, "scenarios": [scenario]}
    await page.get_by_role("link", name="Suites", exact=True).click()
    await page.get_by_role("link", name="New suite").click()
    await page.get_by_role("textbox", name=re.compile("suite", re.IGNORECASE)).first.fill(yaml.safe_dump(suite))
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.wait_for_url("**/suites/sui_*")
    await expect(page.get_by_role("gridcell", name="voucher, run 1: Failed")).to_be_visible()
    red = await ended_suite(stack, suite_of(page.url))
    assert red["outcome"] == "failed"
    return red


def suite_of(url: str) -> str:
    """The suite that an address names."""
    found = re.search(r"sui_\w+", url)
    assert found, url
    return found[0]


async def opens_the_failed_call(ada: Person, suite_id: str) -> int:
    """Open the failed run at the turn that the judge quotes; returns its number."""
    page = ada.page
    await ada.open("/suites")
    await page.locator(f"a[href='/suites/{suite_id}']").click()
    await page.get_by_role("gridcell", name="voucher, run 1: Failed").click()
    run = page.get_by_role("complementary", name="Run 1 of voucher")
    quote = run.get_by_role("region", name="Verdict").get_by_role("button", name=re.compile(r"^#\d+$")).first
    await expect(quote).to_be_visible()
    quoted = int((await quote.inner_text()).removeprefix("#"))
    await quote.click()
    await expect(ada.turn(quoted)).to_have_attribute("data-selected", "true")
    await expect(ada.turn(quoted)).to_be_in_viewport()
    await expect(ada.turn(quoted)).to_contain_text(PARKING)
    await run.get_by_role("button", name="Replay from here").click()
    return quoted


async def replays(stack: PageStack, ada: Person, quoted: int) -> Json:
    """Replay the failed call five times with the new version; returns the suite of replays."""
    page = ada.page
    dialog = page.get_by_role("dialog", name="Replay from here")
    await expect(dialog.get_by_label("From").locator("option:checked")).to_contain_text(f"after #{quoted - 1}")
    await expect(dialog.get_by_label("Version")).to_have_attribute("placeholder", "2, the newest")
    await dialog.get_by_text("What version 2 changed since version 1").click()
    await expect(dialog).to_contain_text("champagne")
    await expect(dialog.get_by_label("Repeats")).to_have_value(str(REPLAYS))
    await ada.has_no_violations()
    await dialog.get_by_role("button", name=f"Replay {REPLAYS} times").click()
    await page.wait_for_url("**/compare?*")
    await expect(verdict_of(ada)).to_contain_text("now 5 of 5 passed (95 %: 0.57\N{EN DASH}1.00)")
    green = await ended_suite(stack, suite_of(page.url))
    assert green["progress"]["passed"] == REPLAYS
    return green


def verdict_of(ada: Person) -> Locator:
    """The line that says what became of the replays."""
    return ada.page.get_by_role("status").filter(has_text="was")


async def is_seen_side_by_side(ada: Person) -> None:
    """The failure stands at the left, one replay after the other at the right, and what differs is marked."""
    page = ada.page
    both = page.get_by_role("group", name="Turns of both sides")
    await expect(both).to_contain_text(VOUCHER)
    await expect(both).to_contain_text(PARKING)
    await expect(page.locator("mark").first).to_be_visible()
    left, right = page.get_by_role("region", name="Left side"), page.get_by_role("region", name="Right side")
    await expect(left).to_contain_text("v1")
    await expect(left).to_contain_text("Failed")
    await expect(right).to_contain_text("v2")
    await expect(right).to_contain_text("Passed")
    await expect(verdict_of(ada)).to_contain_text("1 / 5")
    await verdict_of(ada).get_by_role("button", name="Replay 3: Passed").click()
    await expect(verdict_of(ada)).to_contain_text("3 / 5")
    await expect(both).to_contain_text(VOUCHER)
    await ada.has_no_violations()


async def replays_as_often_as_possible(stack: PageStack, ada: Person) -> None:
    """Twenty replays are the most; the confidence interval of the pass rate becomes narrow."""
    dialog = ada.page.get_by_role("dialog", name="Replay from here")
    await dialog.get_by_label("Repeats").fill("50")
    await dialog.get_by_role("button", name=f"Replay {MAX_REPLAYS} times").click()
    await ada.page.wait_for_url("**/compare?*")
    await expect(verdict_of(ada)).to_contain_text("now 20 of 20 passed (95 %: 0.84\N{EN DASH}1.00)")
    assert (await ended_suite(stack, suite_of(ada.page.url)))["progress"]["passed"] == MAX_REPLAYS
