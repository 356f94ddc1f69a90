"""The address keeps the filters of lists and totals: sessions and suites of a version, usage by day."""

import re

from playwright.async_api import expect

from tests.page.agents import settled_conversation, shop
from tests.page.browser import Person
from tests.page.stack import PageStack
from tests.support.provider import TextReply
from tests.support.running_api import done
from tests.support.waiting import eventually

AGENT = "versioned"


async def test_sessions_and_suites_of_a_version_are_listed(stack: PageStack, ada: Person) -> None:
    page, first = ada.page, shop(AGENT, "first")
    await stack.caller.push(first)
    await stack.caller.open(AGENT, name="Of the first version")
    suite = {
        "name": "of-the-first-version",
        "agent": AGENT,
        "caller_model": "demo",
        "scenarios": [{"id": "hours", "goal": "Ask when it opens.", "checks": {"max_turns": 30}}],
    }
    started = done(await stack.caller.post("/v1/suites", suite), 201)
    await stack.caller.push(first | {"prompt": "Be brief."})
    session = await stack.caller.open(AGENT, name="Of the second version")

    async def are_recorded() -> bool:
        return len(await stack.caller.items("/v1/sessions", agent=AGENT)) >= 2

    await eventually(are_recorded)
    await ada.open(f"/agents/{AGENT}")
    await page.get_by_role("link", name="Sessions of v2").click()
    await page.wait_for_url(f"**/sessions?agent={AGENT}&version=2")
    rows = page.get_by_role("main").get_by_role("listitem").get_by_role("link")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Of the second version")
    await rows.click()
    await page.wait_for_url(f"**/sessions/{session['id']}?agent={AGENT}&version=2")
    version = page.get_by_role("combobox", name="Version")
    await version.select_option("1")
    listed = page.get_by_role("complementary", name="Sessions").get_by_role("listitem")
    await expect(listed.filter(has_text="Of the first version")).to_have_count(1)
    await expect(listed.filter(has_text="Of the second version")).to_have_count(0)

    await ada.open(f"/suites?agent={AGENT}&version=1")
    link = page.locator(f"a[href='/suites/{started['id']}']")
    await expect(link).to_contain_text(f"{AGENT} v1")
    await ada.has_no_violations()
    await page.get_by_role("combobox", name="Version").select_option("2")
    await ada.sees(f"No suite of {AGENT} v2 yet")
    await expect(page).to_have_url(re.compile(r"agent=versioned&version=2$"))
    await page.get_by_role("link", name="Show all").click()
    await expect(link).to_be_visible()


async def test_a_filter_that_leads_from_the_form_of_a_new_session_to_the_list_keeps_the_focus(
    stack: PageStack, ada: Person
) -> None:
    """A search is typed to its end: no letter goes to the page, where `n` opens the form again."""
    page = ada.page
    await ada.open("/sessions/new")
    search = page.get_by_role("searchbox", name="Search sessions")
    await search.focus()
    for letter in "nobody":
        await page.keyboard.press(letter)
    await expect(search).to_have_value("nobody")
    await expect(search).to_be_focused()
    await expect(page).to_have_url(re.compile(r"/sessions\?q=nobody$"))
    await ada.sees("No session fits")
    await ada.has_no_violations()


async def test_usage_keeps_its_range_and_its_grouping_in_the_address(stack: PageStack, ada: Person) -> None:
    await settled_conversation(stack, shop("counted", "first"), ("A question", "An answer."))
    page = ada.page
    await ada.open("/usage?from=2026-01-01")
    table = page.get_by_role("table")
    await expect(table.get_by_role("columnheader", name="Agent")).to_be_visible()
    grouping = page.get_by_role("combobox", name="Stacked by")
    await grouping.select_option("by day")
    await expect(page).to_have_url(re.compile(r"/usage\?from=2026-01-01&by=day$"))
    await expect(table.get_by_role("columnheader")).to_have_count(4)
    await expect(page.get_by_role("status", name="Loading")).to_have_count(0)
    days = table.get_by_role("row").filter(has=page.get_by_role("cell"))
    await expect(days).to_have_count(
        len({await row.get_by_role("cell").first.inner_text() for row in await days.all()})
    )
    await ada.has_no_violations()
    await ada.open(ada.path)
    await expect(grouping).to_have_value("day")
    await expect(table.get_by_role("columnheader")).to_have_count(4)
    await grouping.select_option("by purpose")
    await expect(table.get_by_role("row").filter(has_text="replies").first).to_be_visible()
    await expect(page).to_have_url(re.compile(r"by=purpose$"))


async def test_a_usage_row_links_to_the_sessions_that_it_sums(stack: PageStack, ada: Person) -> None:
    paid = await settled_conversation(stack, shop("dear", "first"), ("A question", "An answer."))
    model = "openai:first"
    greeted = await stack.caller.open("dear", name="Only greeted")
    await stack.settled(greeted["id"])
    page = ada.page
    await ada.open("/usage?by=model")
    row = page.get_by_role("row").filter(has_text=model)
    day = await row.get_by_role("cell").first.inner_text()
    await row.get_by_role("link", name=model).click()
    await expect(page).to_have_url(re.compile(rf"/sessions\?model=openai%3Afirst&from={day}&to={day}$"))
    listed = page.get_by_role("main").get_by_role("listitem")
    await expect(listed.filter(has_text=paid["name"]).first).to_be_visible()
    await expect(listed.filter(has_text="Only greeted")).to_have_count(0)
    for link in await listed.get_by_role("link").all():
        used = await stack.caller.session(str(await link.get_attribute("href")).partition("?")[0].rpartition("/")[2])
        assert model in used["usage"]["llm"]
    await ada.sees(f"charged for {model} on ")
    await ada.has_no_violations()
    await listed.get_by_role("link").first.click()
    await expect(page).to_have_url(re.compile(r"/sessions/ses_\w+\?model=openai%3Afirst&from="))
    beside = page.get_by_role("complementary", name="Sessions")
    await beside.get_by_role("button", name="Remove this filter").click()
    await expect(page).to_have_url(re.compile(r"/sessions/ses_\w+$"))
    await expect(beside.get_by_role("listitem").filter(has_text="Only greeted")).to_have_count(1)
    await ada.open("/usage?by=purpose")
    await page.get_by_role("row").filter(has_text="replies").get_by_role("link").first.click()
    await ada.sees("charged for replies on ")
    await expect(listed.filter(has_text="Only greeted").first).to_be_visible()


async def test_amounts_of_a_column_have_the_same_decimals(stack: PageStack, ada: Person) -> None:
    await stack.caller.push(shop("columns", "first"))
    for tokens in (1_000, 1_060):
        session = await stack.caller.open("columns")
        stack.model("first").script(TextReply("An answer.", prompt_tokens=tokens, completion_tokens=101))
        await stack.caller.say(session["id"], "A question")
        await stack.settled(session["id"])
    await ada.open("/sessions?agent=columns")
    amounts = ada.page.get_by_role("main").get_by_role("listitem").locator(".text-money")
    await expect(amounts).to_have_count(2)
    written = [await each.inner_text() for each in await amounts.all()]
    assert len({len(each.partition(".")[2]) for each in written}) == 1, written
    exact = [str(await each.get_attribute("title")) for each in await amounts.all()]
    assert exact == [
        f"${session['cost']['total']}" for session in await stack.caller.items("/v1/sessions", agent="columns")
    ]
