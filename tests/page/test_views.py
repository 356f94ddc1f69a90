"""Every view, in both themes: axe finds nothing, everything is ours, and nothing scrolls sideways."""

from urllib.parse import urlsplit

import pytest
from playwright.async_api import Response, expect

from tests.page.agents import shop, talked
from tests.page.browser import Person
from tests.page.conftest import Opens
from tests.page.stack import PageStack
from tests.support.running_api import done
from tests.support.waiting import eventually

TABS = ("why", "graph", "variables", "cost", "events", "raw")
SUITE = {
    "name": "seen-by-axe",
    "agent": "booking-line",
    "model": "demo",
    "caller_model": "demo",
    "judge_model": "demo",
    "scenarios": [
        {"id": "parking", "goal": "Ask whether there is parking.", "success": ["The agent said parking."]},
        {"id": "voucher", "goal": "Ask whether there is parking.", "success": ["The agent offered a voucher."]},
    ],
}


async def looked_at(person: Person, path: str) -> None:
    """A view is open, complete, and without fault."""
    await person.open(path)
    await expect(person.page.get_by_role("heading", level=1).first).to_be_attached()
    await expect(person.page.get_by_role("status", name="Loading")).to_have_count(0)
    await expect(person.page.locator("main")).to_have_count(1)
    await person.has_no_violations()
    wide = await person.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{path} is {wide} px too wide"


async def test_every_tab_of_the_inspector_is_without_fault(stack: PageStack, ada: Person) -> None:
    session = await talked(stack, shop("inspected", "first"), ("A question", "An answer with **Markdown**."))
    for tab in TABS:
        await looked_at(ada, f"/sessions/{session['id']}?tab={tab}")
    await looked_at(ada, f"/sessions/{session['id']}?find=question")


async def test_every_other_view_is_without_fault(stack: PageStack, ada: Person) -> None:
    for path in (
        "/sessions",
        "/sessions?q=nothing-is-called-so",
        "/sessions/ses_unknown",
        "/compare",
        "/agents",
        "/agents/booking-line?node=booking",
        "/agents/new",
        "/suites",
        "/suites/new",
        "/usage",
        "/settings",
    ):
        await looked_at(ada, path)
    await ada.presses("?")
    await expect(ada.page.get_by_role("dialog", name="Keys")).to_be_visible()
    await ada.has_no_violations()
    await ada.presses("Escape", "Control+k")
    await expect(ada.page.get_by_role("dialog", name="Go to")).to_be_visible()
    await ada.has_no_violations()


@pytest.mark.timeout(400)
async def test_a_suite_and_its_runs_are_without_fault(stack: PageStack, opens: Opens) -> None:
    suite = done(await stack.caller.post("/v1/suites", SUITE), 201)

    async def is_over() -> bool:
        return bool(done(await stack.caller.get(f"/v1/suites/{suite['id']}"), 200)["outcome"])

    await eventually(is_over, within=120)
    ada = await opens()
    await looked_at(ada, f"/suites/{suite['id']}?view=table")
    await looked_at(ada, f"/suites/{suite['id']}")
    await ada.page.get_by_role("gridcell", name="voucher, run 1: Failed").click()
    await expect(ada.page.get_by_role("complementary", name="Run 1 of voucher")).to_be_visible()
    await expect(ada.turns.first).to_be_visible()
    await ada.has_no_violations()


async def test_the_page_loads_with_the_policy_and_from_its_own_host_alone(stack: PageStack, ada: Person) -> None:
    responses: list[Response] = []

    def came(response: Response) -> None:
        responses.append(response)

    ada.page.on("response", came)
    await ada.open("/sessions")
    await expect(ada.page.get_by_role("link", name="New", exact=False).first).to_be_visible()
    assert {urlsplit(each.url).netloc for each in responses} == {urlsplit(stack.url).netloc}
    policy = responses[0].headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    scripts = [each for each in responses if each.url.endswith(".js")]
    assert scripts
    assert {each.headers["content-encoding"] for each in scripts} <= {"br", "gzip"}
