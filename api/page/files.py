"""The built page, read once and kept in memory: every file with its compressed copies."""

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUILT: Final = Path(__file__).parent / "built"
"""Output of `make web`."""
INDEX: Final = "index.html"
_TWINS: Final = {"br": ".br", "gzip": ".gz"}
"""Suffixes of compressed copies, by content coding, best first."""


@dataclass(frozen=True)
class PageFile:
    """One file of the page, in every coding that the build made."""

    content: bytes
    encoded: Mapping[str, bytes]
    media_type: str
    etag: str

    def best_for(self, accept_encoding: str) -> tuple[str | None, bytes]:
        """The smallest content that a client accepts, with its coding."""
        accepted = _accepted_codings(accept_encoding)
        for coding, content in self.encoded.items():
            if coding in accepted:
                return coding, content
        return None, self.content


class PageFiles:
    """Files of one built page. A page that is built later is found at the next request."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._folder = folder
        self._files: Mapping[str, PageFile] = {}

    def find(self, name: str) -> PageFile | None:
        """The file of that name, relative to the page's folder."""
        return self._all().get(name)

    @property
    def built(self) -> bool:
        """True when there is a page to serve."""
        return INDEX in self._all()

    def _all(self) -> Mapping[str, PageFile]:
        if not self._files:
            self._files = _read(self._folder)
        return self._files


def _read(folder: Path) -> Mapping[str, PageFile]:
    if not (folder / INDEX).is_file():
        return {}
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in _TWINS.values()]
    return {path.relative_to(folder).as_posix(): _page_file(path) for path in paths}


def _page_file(path: Path) -> PageFile:
    content = path.read_bytes()
    twins = {coding: path.with_name(path.name + suffix) for coding, suffix in _TWINS.items()}
    return PageFile(
        content=content,
        encoded={coding: twin.read_bytes() for coding, twin in twins.items() if twin.is_file()},
        media_type=_media_type(path),
        etag=f'W/"{hashlib.sha256(content).hexdigest()[:32]}"',
    )


def _media_type(path: Path) -> str:
    # Fixed for JavaScript: some systems have another type in their tables, which browsers refuse with nosniff.
    if path.suffix == ".js":
        return "text/javascript; charset=utf-8"
    guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed


def _accepted_codings(accept_encoding: str) -> set[str]:
    """Content codings that a client accepts: those named, except with weight 0."""
    accepted = set()
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if weight.strip().replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            accepted.add(coding.strip())
    return accepted
