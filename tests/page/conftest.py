"""Fixtures of the page's stories: one stack and one Chromium per process, and a window of its own for every test."""

from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from api.page.files import PageFiles
from tests.page.browser import AXE, Person, person
from tests.page.stack import PageStack, page_stack
from tests.support.chromium import ARGUMENTS, chromium
from tests.support.provider import ModelProvider, model_provider

HERE = Path(__file__).parent
LOG_CHARACTERS = 4_000
"""Characters of a log that are shown with a failure."""


class Opens(Protocol):
    """Opens a window for somebody at an origin, the stack's by default, with options of a browser context."""

    async def __call__(self, *, origin: str = ..., **options: Any) -> Person: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the stories, with one line that says why, where there is no browser or no page."""
    reason = None
    if chromium() is None:
        reason = "no Chromium: the page's stories need one (Debian: apt-get install chromium-headless-shell)"
    elif not PageFiles().built or not AXE.is_file():
        reason = "no page: the page's stories need it built (`make web`, with Node 20.19 or newer and npm)"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of what the stack's processes wrote to the report of a failure."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, PageStack):
        for process in (stack.api, stack.worker):
            report.sections.append((f"log of the {process.name}", process.log_file.read_text()[-LOG_CHARACTERS:]))
    return report


@pytest_asyncio.fixture(scope="session")
async def page_provider() -> AsyncIterator[ModelProvider]:
    """The provider behind the stack."""
    async with model_provider() as provider:
        yield provider


@pytest_asyncio.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, page_provider: ModelProvider) -> AsyncIterator[PageStack]:
    """The stack, started once."""
    async with page_stack(tmp_path_factory.mktemp("page"), page_provider) as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium, without a window."""
    program = chromium()
    assert program
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        await running.close()


@pytest_asyncio.fixture
async def opens(browser: Browser, stack: PageStack) -> AsyncIterator[Opens]:
    """Opens windows; when the test is over, none of them may have done anything wrong."""
    people: list[Person] = []
    async with AsyncExitStack() as opened:

        async def open_for(*, origin: str = stack.url, **options: Any) -> Person:
            somebody = await opened.enter_async_context(person(browser, origin, **options))
            people.append(somebody)
            return somebody

        yield open_for
    for somebody in people:
        somebody.did_nothing_wrong()


@pytest_asyncio.fixture
async def ada(opens: Opens) -> Person:
    """Somebody at a wide screen."""
    return await opens()
