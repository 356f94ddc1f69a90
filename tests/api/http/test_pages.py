"""Pages that end before their limit."""

import json

import pytest

from api.http import responses
from api.http.responses import page_within_bytes
from store.database.pagination import Page
from tests.support.running_api import Json


def rendered(item: str) -> bytes:
    return json.dumps(item).encode()


async def test_page_ends_after_one_search_window() -> None:
    """Otherwise one request would search window after window for a rare word."""
    asked: list[int] = []

    async def one_per_window(limit: int, cursor: str | None) -> Page[str]:
        asked.append(limit)
        return Page((f"found {len(asked)}",), f"window {len(asked)}")

    page: Json = json.loads(bytes((await page_within_bytes(one_per_window, 50, None, rendered)).body))
    assert page == {"items": ["found 1"], "next_cursor": "window 1"}
    assert len(asked) == 1


async def test_page_of_large_items_is_little_larger_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MAX_PAGE_BYTES", 1_000)

    async def large(limit: int, cursor: str | None) -> Page[str]:
        return Page(tuple("x" * 300 for _ in range(limit)), "next")

    body = bytes((await page_within_bytes(large, 200, None, rendered)).body)
    assert 1_000 < len(body) < 1_500
