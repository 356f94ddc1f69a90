"""Origins of web pages: the pages that an embed token is for."""

import re
from collections.abc import Collection
from typing import Final

ANY_ORIGIN: Final = "*"
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
    r"(:(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
"""Ports that browsers leave out."""


def parse_origin(text: str) -> str:
    """An origin as browsers write it, or a pattern: `https://*.example.com` for all names below one, `*` for any page.

    Raises ValueError with a message that describes the expected form.
    """
    if text == ANY_ORIGIN:
        return text
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        raise ValueError(
            f"{text[:80]!r} is not an origin: write a scheme, a host in ASCII and, if it is not the usual one, a port, "
            "such as https://shop.example.com, https://*.example.com or http://localhost:3000, or * for any page"
        )
    port = found["port"]
    has_port = port is not None and port != _DEFAULT_PORTS.get(found["scheme"])
    return f"{found['scheme']}://{found['host']}{f':{port}' if has_port else ''}"


def allows(patterns: Collection[str], origin: str | None) -> bool:
    """True if a pattern includes this origin, as a browser sends it. For None only `*` does."""
    if ANY_ORIGIN in patterns:
        return True
    if origin is None:
        return False
    page = origin.lower()
    if "*" in page:
        return False
    return any(page == pattern or _is_below(page, pattern) for pattern in patterns)


def _is_below(page: str, pattern: str) -> bool:
    scheme, _, host = pattern.partition("://")
    if not host.startswith("*."):
        return False
    page_scheme, _, page_host = page.partition("://")
    return page_scheme == scheme and len(page_host) >= len(host) and page_host.endswith(host[1:])
