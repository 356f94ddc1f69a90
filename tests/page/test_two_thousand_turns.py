"""Story 7: a conversation of two thousand turns is opened, walked, searched and continued like one of twenty."""

import json
import re

from playwright.async_api import expect

from domain.turns.turn import TurnEvent
from tests.page.agents import GREETING, shop
from tests.page.browser import Person
from tests.page.long_session import long_session
from tests.page.stack import PageStack, gate
from tests.support.provider import TextReply
from tests.support.waiting import eventually

TURNS = 2_000
MAX_ELEMENTS = 3_000
MAX_HEAP_BYTES = 150_000_000
LARGE_RESULT_BYTES = 1_000_000
"""A tool's result is at most about this large."""


def exchange_of(index: int) -> tuple[str, str]:
    """What is said in a turn; 41 turns speak of a deposit."""
    return f"Question {index}", f"The deposit for {index}." if index % 49 == 12 else f"Answer {index}."


async def top_of(ada: Person, index: int) -> float:
    """Pixels between the top of the conversation and a turn."""
    row, box = await ada.turn(index).bounding_box(), await ada.page.locator("[data-conversation]").bounding_box()
    assert row
    assert box
    return row["y"] - box["y"]


async def stays_small(ada: Person) -> None:
    """The document and its memory are bounded, however long the conversation is."""
    elements = await ada.page.evaluate("document.querySelectorAll('*').length")
    assert elements <= MAX_ELEMENTS, f"{elements} elements"
    heap = await ada.page.evaluate("performance.memory.usedJSHeapSize")
    assert heap <= MAX_HEAP_BYTES, f"{heap:,} bytes"


async def turn_far_above_is_found(ada: Person) -> None:
    """The commands find words of a turn that is not loaded, and go there."""
    hits = (await ada.looks_for("deposit for 110.")).get_by_role("option")
    await expect(hits).to_have_text(re.compile(r"#110 The deposit for 110\.$"))
    await ada.presses("Enter")
    await expect(ada.turn(110)).to_be_in_viewport()
    await expect(ada.turn(110)).to_be_focused()
    await stays_small(ada)


async def test_two_thousand_turns_are_walked_searched_and_continued(stack: PageStack, ada: Person) -> None:
    await stack.caller.push(shop("long-talk", "long", limits={"max_turns": 10_000}))
    exchanges = [exchange_of(index) for index in range(1, TURNS)]
    session_id = await long_session(stack, "long-talk", exchanges)
    page = ada.page
    await ada.open(f"/sessions/{session_id}")
    await expect(ada.turn(TURNS - 1)).to_be_in_viewport()
    slider = page.get_by_role("slider", name="Playhead")
    await expect(slider).to_have_attribute("aria-valuetext", "turn 1999 of 1999, counter")
    await stays_small(ada)

    half = gate()
    model = stack.model("long")
    model.script(TextReply("It is told piece by piece.", gate=half))
    await ada.says("One more question")
    await expect(ada.turn(TURNS)).to_contain_text("It is told pi")
    half.open()
    await expect(ada.turn(TURNS)).to_contain_text("It is told piece by piece.")
    await expect(ada.turn(TURNS)).to_be_in_viewport()

    strip = await page.locator("[data-strip]").bounding_box()
    assert strip
    x, y = strip["x"] + 5, strip["y"] + strip["height"] * 700.5 / (TURNS + 1)
    await page.mouse.move(x, y - 30)
    await page.mouse.down()
    await page.mouse.move(x, y)
    await page.mouse.up()
    await expect(ada.turn(700)).to_be_in_viewport()
    await expect(ada.turn(700)).to_have_attribute("data-selected", "true")
    await expect(slider).to_have_attribute("aria-valuetext", "turn 700 of 2000, counter")
    await stays_small(ada)

    first = (await stack.caller.items(f"/v1/sessions/{session_id}/tree"))[12]
    assert first["index"] == 12
    await ada.open(f"/sessions/{session_id}?turn={first['id']}")
    await expect(ada.turn(12)).to_be_in_viewport()

    async def is_at_the_top() -> bool:
        return abs(await top_of(ada, 12)) <= 40

    await eventually(is_at_the_top)
    await page.keyboard.press("/")
    await page.keyboard.type("deposit")
    found = page.get_by_role("search").get_by_role("status")
    await expect(found).to_have_text("0 / 41")
    await ada.presses("Enter", "Enter", "Enter")
    await expect(found).to_have_text("3 / 41")
    await expect(ada.turn(110)).to_be_in_viewport()
    await stays_small(ada)

    await ada.open(f"/sessions/{session_id}")
    await expect(ada.turn(TURNS)).to_be_in_viewport()
    await turn_far_above_is_found(ada)


async def test_only_the_beginning_of_a_large_tool_result_is_shown(stack: PageStack, ada: Person) -> None:
    await stack.caller.push(shop("large-result", "large"))
    rows = [{"row": number, "text": "x" * 90} for number in range(LARGE_RESULT_BYTES // 120)]
    at = {"created_at": "2026-11-28T12:00:00Z"}
    events = [
        {"type": "tool_call_started", **at, "payload": {"call_id": "call_1", "name": "list_all", "arguments": {}}},
        {"type": "tool_call_result", **at, "payload": {"call_id": "call_1", "result": json.dumps(rows), "error": None}},
    ]
    session_id = await long_session(
        stack,
        "large-result",
        [("List everything.", "Here it is.")],
        [TurnEvent.model_validate_json(json.dumps(event)) for event in events],
    )
    await ada.open(f"/sessions/{session_id}")
    await expect(ada.turn(1)).to_contain_text("Here it is.")
    await ada.turn(1).get_by_role("button", name="list_all").click()
    await expect(ada.turn(1)).to_contain_text("too large to unfold here")
    await expect(ada.turn(0)).to_contain_text(GREETING)
    await ada.composer.fill("It still takes letters")
    await expect(ada.composer).to_have_value("It still takes letters")
    await stays_small(ada)
    assert len(await ada.turn(1).inner_text()) < 5_000
