"""A person at the page: a Chromium window, and what the person finds and does in it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect

from tests.e2e.processes import CHECKOUT

AXE = CHECKOUT / "web" / "node_modules" / "axe-core" / "axe.min.js"
ROWS_BESIDE = '[role=complementary][aria-label="Sessions"] ul > li:nth-child(n+2)'
"""Rows after the first in the list of sessions beside a view: axe skips them. As a view the list is checked whole."""
AXE_RUN = """([within, rules, exclude]) => axe.run({ include: [[within]], exclude: [[exclude]] }, {
  resultTypes: ['violations'],
  selectors: false,
  preload: false,
  ...(rules && { runOnly: { type: 'rule', values: rules } }),
})"""
"""axe with all rules, or with those given."""
PATIENCE_MS = 45_000.0
"""How long the page may take over anything on a busy machine; usually it takes a few frames."""
WIDE = {"width": 1440, "height": 900}
NARROW = {"width": 360, "height": 640}
EXPECTED_NOISE = ("Failed to load resource", "net::ERR_")
"""Console lines about requests: tests make them fail on purpose."""

expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Person:
    """Somebody who uses the page; `wrongs` lists what the page did meanwhile that it must not do."""

    page: Page
    origin: str
    wrongs: list[str] = field(default_factory=list)

    async def open(self, path: str) -> None:
        """Go to an address of the page."""
        await self.page.goto(f"{self.origin}{path}")

    @property
    def path(self) -> str:
        """The address of what is shown, from the first slash on."""
        parts = urlsplit(self.page.url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    @property
    def session_id(self) -> str:
        """The id of the session on show."""
        found = re.search(r"/sessions/(ses_\w+)", self.page.url)
        assert found, self.page.url
        return found[1]

    def turn(self, index: int) -> Locator:
        """The row of a turn."""
        return self.page.get_by_role("article", name=f"Turn {index}", exact=True)

    @property
    def turns(self) -> Locator:
        """All rows of turns that are in the document."""
        return self.page.locator("article[data-turn]")

    @property
    def composer(self) -> Locator:
        """The field for the next message."""
        return self.page.get_by_role("textbox", name="Say something to the agent")

    @property
    def inspector(self) -> Locator:
        """The pane about the selected turn."""
        return self.page.get_by_role("complementary", name="Inspector")

    async def says(self, text: str) -> None:
        """Write something and press Enter."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def sees(self, text: str | re.Pattern[str], within: Locator | None = None) -> None:
        """Wait until some words are visible."""
        place = within or self.page.locator("body")
        await expect(place.get_by_text(text).first).to_be_visible()

    async def looks_for(self, words: str) -> Locator:
        """Open the commands and write; returns the dialog."""
        await self.presses("Control+k")
        await expect(self.page.get_by_role("combobox", name="Commands, sessions, agents, turns")).to_be_focused()
        await self.page.keyboard.type(words)
        return self.page.get_by_role("dialog", name="Go to")

    async def presses(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        for key in keys:
            await self.page.keyboard.press(key)

    async def start(self, agent: str, **context: str) -> str:
        """Open a session through the form; returns its id."""
        filled = "".join(f"&ctx.{name}={value}" for name, value in context.items())
        await self.open(f"/sessions/new?agent={agent}{filled}")
        await self.page.get_by_role("button", name="Start", exact=True).click()
        await self.page.wait_for_url("**/sessions/ses_*")
        return self.session_id

    async def has_no_violations(self, *, within: str = "html", themes: tuple[str, ...] = ("light", "dark")) -> None:
        """Let axe look at the view as it is, or at a part of it, in each theme. Between themes only colours differ."""
        before = await self.page.evaluate("document.documentElement.dataset.theme")
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text())
        for number, theme in enumerate(themes):
            await self.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            found: dict[str, Any] = await self.page.evaluate(
                AXE_RUN, [within, ["color-contrast"] if number else None, ROWS_BESIDE]
            )
            shown = [
                f"{each['id']}: {each['help']}\n"
                + "\n".join(f"    {node['html'][:200]}\n{node['failureSummary']}" for node in each["nodes"][:5])
                for each in found["violations"]
            ]
            assert not shown, f"axe, {theme}, at {self.path}:\n" + "\n".join(shown)
        await self.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", before)

    def did_nothing_wrong(self) -> None:
        """No request to another host, no error in the console, nothing that the content security policy forbids."""
        assert not self.wrongs, "\n".join(self.wrongs)


@asynccontextmanager
async def person(browser: Browser, origin: str, **options: Any) -> AsyncIterator[Person]:
    """Somebody with a browser of their own: storage, theme and size are those of `options`."""
    context = await browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
    context.set_default_timeout(PATIENCE_MS)
    context.set_default_navigation_timeout(PATIENCE_MS)
    try:
        yield await another_page(context, origin)
    finally:
        await context.close()


async def another_page(context: BrowserContext, origin: str) -> Person:
    """One more tab of the same browser."""
    page = await context.new_page()
    opened = Person(page, origin)

    def on_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != origin:
            opened.wrongs.append(f"a request left for {request.url}")

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(noise in message.text for noise in EXPECTED_NOISE):
            opened.wrongs.append(f"console {message.type}: {message.text}")

    page.on("request", on_request)
    page.on("console", on_console)
    page.on("pageerror", lambda error: opened.wrongs.append(f"page error: {error}"))
    return opened
