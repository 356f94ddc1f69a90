"""The page at 2,000 turns, compared with itself at 20: the time from a key, or from a word of a reply, to paint."""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.async_api import async_playwright, expect

from api.page.files import PageFiles
from benchmarks.report import Measure
from tests.page.agents import shop
from tests.page.browser import Person, person
from tests.page.long_session import long_session
from tests.page.stack import PageStack, page_stack
from tests.support.chromium import ARGUMENTS, chromium
from tests.support.provider import ModelProvider, TextReply, model_provider

FEW, MANY = 20, 2_000
GOAL = 1.5
MAX_ELEMENTS = 3_000
MAX_TASK_MILLISECONDS = 100.0
WORDS = 40
WORD_SECONDS = 0.08
TYPED = "how long does a letter take until it is seen"

WATCHES: Final = """(() => {
  const seen = window.seen = { keys: [], words: [], tasks: [] }
  let arrived = 0
  const decode = TextDecoder.prototype.decode
  TextDecoder.prototype.decode = function (...given) {
    arrived ||= performance.now()
    return decode.apply(this, given)
  }
  const painted = (since, into) => requestAnimationFrame(() => {
    const after = new MessageChannel()
    after.port1.onmessage = () => into.push(performance.now() - since)
    after.port2.postMessage(0)
  })
  addEventListener('keydown', () => painted(performance.now(), seen.keys), true)
  new MutationObserver(changes => {
    const words = changes.some(({ target }) => (target.parentElement ?? document.body).closest('p.caret'))
    if (!arrived || !words) return
    painted(arrived, seen.words)
    arrived = 0
  }).observe(document, { characterData: true, childList: true, subtree: true })
  const tasks = new PerformanceObserver(list => seen.tasks.push(...list.getEntries().map(task => task.duration)))
  tasks.observe({ type: 'longtask' })
})()"""
"""Records how long keys and words take until they are painted, and every task over 50 ms."""

SCROLLS: Final = """async () => {
  const box = document.querySelector('[data-conversation]')
  const frame = () => new Promise(done => requestAnimationFrame(done))
  const { left, top, width, height } = box.getBoundingClientRect()
  let blank = 0
  for (let step = 0; step < 120; step += 1) {
    box.scrollTop -= 500
    await frame()
    if (!document.elementFromPoint(left + width / 2, top + height / 2)?.closest('li')) blank += 1
  }
  return blank
}"""
"""Scrolls up by 500 px a frame; returns in how many frames the middle was empty."""


async def page_measures() -> list[Measure]:
    """Both lengths on one stack and in one Chromium; nothing where there is no Chromium or no page."""
    program = chromium()
    if program is None or not PageFiles().built:
        print("page: no Chromium, or the page is not built; it is not measured", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder:
        async with (
            model_provider() as provider,
            page_stack(Path(folder), provider) as stack,
            async_playwright() as driver,
        ):
            browser = await driver.chromium.launch(executable_path=program, args=ARGUMENTS)
            try:
                found = {}
                for turns in (FEW, MANY):
                    async with person(browser, stack.url) as somebody:
                        found[turns] = await _seen(somebody, stack, provider, turns)
            finally:
                await browser.close()
    few, many = found[FEW], found[MANY]
    return [
        Measure(f"page, key to paint at {MANY:,} turns, to {FEW}", "ms", few["keys"], many["keys"], GOAL, "at_most"),
        Measure(f"page, word to paint at {MANY:,} turns, to {FEW}", "ms", few["words"], many["words"], GOAL, "at_most"),
        Measure(f"page, elements at {MANY:,} turns", "", None, many["elements"], MAX_ELEMENTS, "within"),
        Measure(f"page, longest task at {MANY:,} turns", "ms", None, many["task"], MAX_TASK_MILLISECONDS, "within"),
        Measure(f"page, blank frames of 120 at {MANY:,} turns", "", None, many["blank"], 0, "within"),
    ]


async def _seen(somebody: Person, stack: PageStack, provider: ModelProvider, turns: int) -> dict[str, float]:
    """The medians for a session of a length, all of whose turns are loaded."""
    name = f"measured-{turns}"
    await stack.caller.push(shop(name, name, limits={"max_turns": 10_000}))
    exchanges = [(f"Question {number}", f"This is answer {number}.") for number in range(1, turns)]
    session_id = await long_session(stack, name, exchanges)
    page = somebody.page
    await page.add_init_script(WATCHES)
    [first, *_] = await stack.caller.items(f"/v1/sessions/{session_id}/tree")
    await somebody.open(f"/sessions/{session_id}?turn={first['id']}")
    await expect(somebody.turn(0)).to_be_in_viewport()
    await somebody.presses("G")
    await expect(somebody.turn(turns - 1)).to_be_in_viewport()
    await page.evaluate("window.seen.tasks.length = 0")
    await somebody.composer.focus()
    await page.evaluate("window.seen.keys.length = 0")
    await page.keyboard.type(TYPED, delay=40)
    provider.model(name).script(TextReply("word " * WORDS + "end.", word_seconds=WORD_SECONDS))
    await page.keyboard.press("Enter")
    await expect(somebody.turn(turns)).to_contain_text("end.")
    await expect(somebody.turn(turns).get_by_role("button", name="Stop")).to_have_count(0)
    seen: dict[str, Any] = await page.evaluate("window.seen")
    blank = await page.evaluate(SCROLLS)
    tasks: list[float] = await page.evaluate("window.seen.tasks")
    return {
        "keys": statistics.median(seen["keys"]),
        "words": statistics.median(seen["words"]),
        "task": max(tasks, default=0.0),
        "blank": float(blank),
        "elements": float(await page.evaluate("document.querySelectorAll('*').length")),
    }
