"""The Chromium of this system, a tab in it, and a server of one document with an origin of its own."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from playwright.async_api import Page, async_playwright

CHROMIUMS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""The first one found is used. The shell is the same browser without windows, at half the processor time."""
ARGUMENTS: Final = ("--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--disable-gpu")


def chromium() -> str | None:
    """The path of this system's Chromium, if there is one."""
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


needs_chromium = pytest.mark.skipif(
    chromium() is None, reason="no Chromium (Debian: apt-get install chromium-headless-shell)"
)


@asynccontextmanager
async def new_tab() -> AsyncIterator[Page]:
    """A tab in a new browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield await browser.new_page()
        await browser.close()


@asynccontextmanager
async def document_server(html: str) -> AsyncIterator[int]:
    """The port of a server on this machine that answers every request with one document."""
    body = html.encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
