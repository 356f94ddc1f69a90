"""Draws the pictures of the page in README and docs/page.md from a scripted session; `make screenshots` runs it."""

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

import yaml
from playwright.async_api import async_playwright, expect

from playhead.demo_model.model import DEMO_USAGE_KEY
from tests.page.browser import NARROW, WIDE, Person, person
from tests.page.stack import HOUSE, PRICE, PageStack, page_stack
from tests.support.chromium import ARGUMENTS, chromium
from tests.support.provider import TextReply, ToolCallReply, model_provider
from tests.support.running_api import Json, done
from tests.support.waiting import eventually

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ROOT / "docs" / "images"
PRICES: Final = json.dumps({DEMO_USAGE_KEY: PRICE, f"openai-chat:{HOUSE}": PRICE})
BOOKING: Final = (
    ("Good evening! I would like to book a table.", "With pleasure. For which day, and at what time?"),
    ("This Friday, at eight in the evening.", "Friday at eight. How many guests will you be?"),
    ("We will be four people.", "A table for four. Under which name may I book it?"),
    ("The name is Lovelace.", "Thank you. Is there anything that I should note, an allergy perhaps?"),
)
EDITED: Final = (
    (
        "There will be two of us, and a dog.",
        "A table for two on the terrace, where dogs are welcome. Under which name?",
    ),
    ("Under the name Lovelace, please.", "Thank you, I have noted the name. Shall I put a bowl of water out as well?"),
)
TAKEN_BACK: Final = ("Yes, that would be kind.", "Then we look forward to seeing all three of you on Friday.")
INSTEAD: Final = ("No, but make it half past eight.", "Half past eight it is. We look forward to seeing you on Friday.")
REPEATS: Final = 6
SUITE_SECONDS: Final = 600.0


async def booking(stack: PageStack) -> Json:
    """A conversation with branches: one message was edited, and the last turns were rewound and replaced."""
    session = await stack.caller.open("booking-line", name="Ada books a table", initial_context={"first_name": "Ada"})
    stack.model(HOUSE).script(ToolCallReply("to_booking"))
    for said, answer in BOOKING:
        session = await exchange(stack, session, f"/v1/sessions/{session['id']}/messages", said, answer)
    third = session["turns"][3]["id"]
    session = await exchange(stack, session, f"/v1/sessions/{session['id']}/turns/{third}/edit", *EDITED[0])
    for said, answer in (EDITED[1], TAKEN_BACK):
        session = await exchange(stack, session, f"/v1/sessions/{session['id']}/messages", said, answer)
    await stack.caller.rewind(session["id"], session["turns"][4]["id"])
    await exchange(stack, session, f"/v1/sessions/{session['id']}/messages", *INSTEAD)
    return await stack.settled(session["id"])


async def exchange(stack: PageStack, session: Json, path: str, said: str, answer: str) -> Json:
    """Send a message, or edit that of a turn, and have it answered like this; returns the session."""
    tokens = 480 + 40 * len(session["turns"])
    stack.model(HOUSE).script(TextReply(answer, prompt_tokens=tokens, completion_tokens=len(answer) // 4))
    return done(await stack.caller.post(path, {"text": said}), 200)


async def red_suite(stack: PageStack) -> Json:
    """A suite that is over, many of whose runs failed."""
    definition = yaml.safe_load((ROOT / "examples" / "suites" / "booking-line.yaml").read_text())
    failing = yaml.safe_load((ROOT / "examples" / "suites" / "meant-to-fail.yaml").read_text())
    definition["scenarios"] += failing["scenarios"]
    models = {"model": "demo", "caller_model": "demo", "judge_model": "demo"}
    suite = done(await stack.caller.post("/v1/suites", definition | models | {"repeats": REPEATS}), 201)

    async def is_over() -> bool:
        return bool(done(await stack.caller.get(f"/v1/suites/{suite['id']}"), 200)["outcome"])

    await eventually(is_over, within=SUITE_SECONDS)
    return suite


async def draw(somebody: Person, folder: Path, name: str) -> None:
    """Save what is shown as a picture, without the pointer's hover."""
    await somebody.page.mouse.move(0, 0)
    await expect(somebody.page.get_by_role("status", name=re.compile("^Loading"))).to_have_count(0)
    await somebody.page.screenshot(path=folder / f"page-{name}.png", animations="disabled")


async def draw_all(stack: PageStack, folder: Path) -> None:
    """Draw every picture of the documentation into a folder."""
    session = await booking(stack)
    suite = await red_suite(stack)
    path = f"/sessions/{session['id']}"
    turn = session["turns"][1]["id"]
    branch = max(session["discarded_branches"], key=lambda each: len(each["turns"]))["id"]
    program = chromium()
    assert program, "no Chromium was found (Debian: apt-get install chromium-headless-shell)"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        async with person(browser, stack.url, viewport=WIDE, color_scheme="light") as ada:
            await ada.open(f"{path}?turn={session['turns'][-1]['id']}&tab=graph")
            await expect(ada.inspector.get_by_role("row").filter(has_text="here")).to_be_visible()
            await draw(ada, folder, "conversation")
            await ada.open(f"{path}?turn={turn}&tab=why&step=0")
            await expect(ada.inspector.get_by_role("button", name="Copy as curl")).to_be_visible()
            await draw(ada, folder, "why")
            await ada.open(f"{path}/branches")
            await expect(ada.page.get_by_role("treegrid").get_by_role("row").first).to_be_visible()
            await draw(ada, folder, "branches")
            await ada.open(f"/compare?a={session['id']}@{branch}&b={session['id']}@active")
            await expect(ada.page.get_by_role("button", name=re.compile("in common"))).to_be_visible()
            await draw(ada, folder, "compare")
            await ada.open(f"/suites/{suite['id']}")
            await ada.page.get_by_role("gridcell", name="fails-a-criterion, run 1: Failed").click()
            run = ada.page.get_by_role("complementary", name="Run 1 of fails-a-criterion")
            await expect(run.get_by_role("button", name=re.compile(r"^#\d+$")).first).to_be_visible()
            await expect(ada.turns.first).to_be_visible()
            await draw(ada, folder, "suite")
        async with person(browser, stack.url, viewport=WIDE, color_scheme="dark") as ada:
            await ada.open(f"{path}?turn={turn}&tab=cost")
            await expect(ada.inspector.get_by_role("definition").first).to_be_visible()
            await draw(ada, folder, "dark")
        phone = {"viewport": NARROW, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
        async with person(browser, stack.url, **phone, color_scheme="light") as ada:
            await ada.open(path)
            await expect(ada.page.locator(f"[data-turn={session['turns'][-1]['id']}]")).to_be_in_viewport()
            await draw(ada, folder, "narrow")
        await browser.close()


async def main(folder: Path) -> None:
    """Start a stack with the demo model, and draw."""
    with tempfile.TemporaryDirectory(prefix="playhead-pictures-") as data:
        async with (
            model_provider() as provider,
            page_stack(Path(data), provider, PLAYHEAD_PRICES=PRICES) as stack,
        ):
            await draw_all(stack, folder)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES))
