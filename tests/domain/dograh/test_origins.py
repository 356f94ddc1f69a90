"""Origins of pages: how they are written, and which of them a pattern covers."""

import pytest

from domain.dograh.origins import allows, parse_origin


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://Shop.Example.com", "https://shop.example.com"),
        ("https://shop.example.com:443", "https://shop.example.com"),
        ("http://shop.example.com:80", "http://shop.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://*.example.com", "https://*.example.com"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("*", "*"),
    ],
)
def test_origin_is_written_as_browsers_write_it(written: str, origin: str) -> None:
    assert parse_origin(written) == origin
    assert parse_origin(origin) == origin


@pytest.mark.parametrize(
    "written",
    [
        "",
        "shop.example.com",
        "https://",
        "https://shop.example.com/",
        "https://shop.example.com/page",
        "https://a.*.example.com",
        "https://*",
        "https://*.",
        "https://user@shop.example.com",
        "https://münchen.example",
        "https://a b",
        "null",
        "https://shop.example.com:port",
        "https://shop.example.com\n",
    ],
)
def test_anything_else_is_refused_with_what_is_expected(written: str) -> None:
    with pytest.raises(ValueError, match="is not an origin: write a scheme"):
        parse_origin(written)


@pytest.mark.parametrize(
    ("pattern", "page", "expected"),
    [
        ("https://shop.example.com", "https://shop.example.com", True),
        ("https://shop.example.com", "https://SHOP.example.com", True),
        ("https://shop.example.com", "http://shop.example.com", False),
        ("https://shop.example.com", "https://shop.example.com:8443", False),
        ("https://shop.example.com", "https://shop.example.com.evil.example", False),
        ("https://shop.example.com", "https://www.shop.example.com", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com", "https://*.example.com", False),
        ("https://shop.example.com", "null", False),
        ("https://shop.example.com", None, False),
        ("*", "null", True),
        ("*", None, True),
        ("*", "https://evil.example", True),
    ],
)
def test_pattern_covers_pages(pattern: str, page: str | None, expected: bool) -> None:
    assert allows([pattern], page) is expected
    assert allows(["https://other.example", pattern], page) is expected
    assert allows([], page) is False
