"""Every view, in both themes: axe finds nothing, no other host is contacted, and nothing scrolls sideways."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Response, expect

from playhead.temporal.dev_server import LOOPBACK
from tests.page.agents import settled_conversation, shop
from tests.page.browser import Person
from tests.page.conftest import Opens
from tests.page.stack import PageStack
from tests.page.test_small_and_old import agent_with_an_approval
from tests.support.ports import free_port
from tests.support.provider import ErrorReply, ToolCallReply
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


async def check_view(person: Person, path: str) -> None:
    """Open a view; it is complete and without fault."""
    await person.open(path)
    await expect(person.page.get_by_role("heading", level=1).first).to_be_attached()
    await expect(person.page.get_by_role("status", name="Loading")).to_have_count(0)
    await expect(person.page.get_by_role("main")).to_have_count(1)
    await person.has_no_violations()
    wide = await person.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{path} is {wide} px too wide"


async def test_every_tab_of_the_inspector_is_accessible(stack: PageStack, ada: Person) -> None:
    session = await settled_conversation(
        stack, shop("inspected", "first"), ("A question", "An answer with **Markdown**.")
    )
    path = f"/sessions/{session['id']}"
    for tab in TABS:
        await check_view(ada, f"{path}?tab={tab}")
    await ada.open(f"{path}?tab=graph")
    await ada.inspector.get_by_role("row").filter(has_text="counter").get_by_role("button").first.click()
    await ada.sees("All nodes")
    await ada.has_no_violations(within="#inspector")
    await check_view(ada, f"{path}?find=question")


async def test_a_list_of_all_kinds_of_sessions_is_accessible(stack: PageStack, ada: Person) -> None:
    await stack.caller.push(
        agent_with_an_approval(f"http://{LOOPBACK}:{free_port()}/reserve") | {"name": "careful-row"}
    )
    waiting = await stack.caller.open("careful-row", name="Waits for an approval")
    stack.model("careful").script(ToolCallReply("reserve", "{}"))
    path = f"/v1/sessions/{waiting['id']}/messages"
    done(await stack.caller.post(path, {"text": "Keep an umbrella for me"}, wait=False), 202)
    session = await settled_conversation(
        stack, shop("listed", "listed"), ("A question", "An answer."), ("One more", "Once more.")
    )
    done(await stack.caller.post(f"/v1/sessions/{session['id']}/fork", {"name": "A fork"}), 201)
    ended = await stack.caller.open("listed", name="An ended one")
    done(await stack.caller.post(f"/v1/sessions/{ended['id']}/end", {"reason": "user_hangup"}), 200)
    stack.model("listed").script(ErrorReply(400))
    failed = await stack.caller.open("listed", name="A failed one")
    await stack.caller.post(f"/v1/sessions/{failed['id']}/messages", {"text": "What are your hours?"})
    await stack.caller.rewind(session["id"], session["turns"][1]["id"])
    simulator = {"enabled": True, "config": {"goal": "Ask whether there is parking.", "model": "demo"}}
    done(await stack.caller.post("/v1/sessions", {"agent": "listed", "name": "Simulated", "simulator": simulator}), 201)
    rows = ada.page.get_by_role("main").get_by_role("listitem")
    await ada.open("/sessions")
    for name in ("Waits for an approval", "A fork", "An ended one", "A failed one", "Simulated"):
        await expect(rows.filter(has_text=name)).to_be_visible()
    await expect(rows.filter(has_text="approval").first).to_be_visible()
    await expect(rows.get_by_role("img", name="Rewound").first).to_be_visible()
    await check_view(ada, "/sessions")
    await expect(ada.page.get_by_role("banner").get_by_role("link", name=re.compile("approval"))).to_be_visible()


async def test_every_other_view_is_accessible(stack: PageStack, ada: Person) -> None:
    await stack.caller.push(shop("two-versions", "first"))
    await stack.caller.push(shop("two-versions", "first", prompt="Be brief."))
    for path in (
        "/sessions?q=nothing-is-called-so",
        "/sessions?purpose=judge&from=2026-01-01&to=2026-01-02",
        "/sessions/ses_unknown",
        "/sessions/new?agent=booking-line",
        "/compare",
        "/agents",
        "/agents/booking-line?node=booking",
        "/agents/two-versions?version=2&against=1",
        "/suites",
        "/suites?agent=two-versions",
        *(f"/usage?by={by}" for by in ("day", "agent", "model", "purpose")),
        "/settings",
    ):
        await check_view(ada, path)
    editor = ada.page.get_by_role("textbox").first
    for path, broken in (
        ("/agents/new", "name: x\nstart: nowhere\nnodes: {a: {prompt: Hi}}"),
        ("/suites/new", "scenarios:\n  - id: a"),
    ):
        await check_view(ada, path)
        await editor.fill(broken)
        if path == "/suites/new":
            await ada.page.get_by_role("button", name="Start", exact=True).click()
        await expect(ada.page.get_by_role("button", name=re.compile("^line ")).first).to_be_visible()
        await ada.has_no_violations()


async def test_menus_and_dialogs_are_accessible(stack: PageStack, ada: Person) -> None:
    session = await settled_conversation(stack, shop("overlaid", "first"), ("A question", "An answer."))
    await ada.open(f"/sessions/{session['id']}")
    await expect(ada.turn(1)).to_be_visible()
    page = ada.page
    await ada.turn(1).get_by_role("button", name="More for this turn").click()
    await expect(page.get_by_role("menu")).to_be_visible()
    await ada.has_no_violations(within="[role=menu]")
    await ada.presses("Escape")
    await expect(page.get_by_role("menu")).to_have_count(0)
    await ada.presses("e")
    await expect(ada.turn(1).get_by_role("button", name="Send again", exact=True)).to_be_visible()
    await ada.has_no_violations(within="#main")
    await ada.turn(1).get_by_role("button", name="Cancel").click()
    await ada.turn(1).focus()
    await ada.presses("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await ada.has_no_violations()
    await ada.presses("Escape")
    await expect((await ada.looks_for("question")).get_by_role("option").first).to_be_visible()
    await ada.has_no_violations(within="dialog")
    await ada.open(f"/sessions/{session['id']}?tab=raw")
    await ada.inspector.get_by_role("button", name=re.compile("^Erase")).click()
    await expect(page.get_by_role("dialog", name=re.compile("^Erase"))).to_be_visible()
    await ada.has_no_violations(within="dialog")


@pytest.mark.timeout(400)
async def test_a_suite_and_its_runs_are_accessible(stack: PageStack, opens: Opens) -> None:
    suite = done(await stack.caller.post("/v1/suites", SUITE), 201)

    async def is_over() -> bool:
        return bool(done(await stack.caller.get(f"/v1/suites/{suite['id']}"), 200)["outcome"])

    await eventually(is_over, within=120)
    ada = await opens()
    again = done(await stack.caller.post("/v1/suites", SUITE), 201)
    await check_view(ada, f"/suites/{again['id']}")
    for query in ("?view=table", f"?baseline={again['id']}", ""):
        await check_view(ada, f"/suites/{suite['id']}{query}")
    await ada.sees(re.compile("^1 \N{MULTIPLICATION SIGN} The agent offered a voucher"))
    await ada.page.get_by_role("gridcell", name="voucher, run 1: Failed").click()
    await expect(ada.page.get_by_role("complementary", name="Run 1 of voucher")).to_be_visible()
    await expect(ada.turns.first).to_be_visible()
    await ada.has_no_violations()
    await ada.page.get_by_role("button", name=re.compile("^Replay from here")).click()
    await expect(ada.page.get_by_role("dialog", name="Replay from here")).to_be_visible()
    await ada.has_no_violations(within="dialog")


async def test_the_page_has_a_content_security_policy_and_loads_from_its_own_host_only(
    stack: PageStack, ada: Person
) -> None:
    responses: list[Response] = []

    def on_response(response: Response) -> None:
        responses.append(response)

    ada.page.on("response", on_response)
    await ada.open("/sessions")
    await expect(ada.page.get_by_role("link", name="New", exact=False).first).to_be_visible()
    assert {urlsplit(each.url).netloc for each in responses} == {urlsplit(stack.url).netloc}
    policy = responses[0].headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    scripts = [each for each in responses if each.url.endswith(".js")]
    assert scripts
    assert {each.headers["content-encoding"] for each in scripts} <= {"br", "gzip"}
