"""Story 10: a suite that fails is watched, filtered by its one reason, and read at the turn that the judge quotes."""

import re

import pytest
import yaml
from playwright.async_api import expect

from tests.e2e.processes import CHECKOUT
from tests.page.browser import Person
from tests.page.stack import PageStack
from tests.support.running_api import done

REPEATS = 6
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
