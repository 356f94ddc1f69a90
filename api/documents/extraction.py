"""Extracts the text of files: Markdown, plain text, HTML and PDF, in sections with headings and pages.

This module runs in a process of its own (see `reading_process.py`): what it reads is untrusted.
"""

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from io import BytesIO
from typing import Final, Literal

from api.documents.passages import Section
from domain.agents.document_files import DocumentFormat

UnreadableReason = Literal["unreadable", "encrypted", "no_text", "too_long", "too_costly"]
MAX_PAGES: Final = 1_000
MAX_CHARACTERS: Final = 1_000_000
"""Characters of text of one document."""

_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.{1,1000})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_SPACES = re.compile(r"[ \t\r\f\v\u00a0]+")
_LINE_BREAKS = re.compile(r"\n{3,}")
_BLOCKS_TEXT: Final = """
address article aside blockquote body caption dd details div dl dt fieldset figcaption figure footer form header hr li
main nav ol p pre section summary table tbody tfoot thead tr ul
"""
_BLOCKS: Final = frozenset(_BLOCKS_TEXT.split())
_UNSEEN: Final = frozenset({"script", "style", "template", "noscript", "svg", "math", "head"})
_HEADING_TAGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})


class UnreadableDocument(Exception):
    """A file that is not read, with a reason for programs and one for people."""

    def __init__(self, reason: UnreadableReason, message: str) -> None:
        super().__init__(message)
        self.reason: UnreadableReason = reason


def sections_of(content: bytes, format: DocumentFormat) -> Iterator[Section]:
    """The sections of a file in the order of the document. Raises UnreadableDocument."""
    characters = 0
    for section in _READERS[format](content):
        characters += len(section.text)
        if characters > MAX_CHARACTERS:
            raise UnreadableDocument("too_long", f"has more than {MAX_CHARACTERS:,} characters of text; divide it")
        yield section


def _markdown(content: bytes) -> Iterator[Section]:
    headings: dict[int, str] = {}
    lines: list[str] = []
    fence = ""
    for line in _decoded(content).splitlines():
        marker = _FENCE.match(line)
        if fence:
            closes = marker and marker[1][0] == fence[0] and len(marker[1]) >= len(fence)
            fence = "" if closes else fence
            lines.append(line)
            continue
        if marker:
            fence = marker[1]
            lines.append(line)
            continue
        found = _HEADING.fullmatch(line)
        underlined = _UNDERLINE.fullmatch(line) if lines and _can_be_heading(lines) else None
        if found:
            level, title = len(found[1]), found[2].strip().rstrip("#").strip()
        elif underlined:
            level, title = (1 if underlined[1][0] == "=" else 2), lines.pop().strip()
        else:
            lines.append(line)
            continue
        yield Section("\n".join(lines), tuple(headings.values()))
        lines = []
        headings = {each: text for each, text in headings.items() if each < level} | {level: title}
    yield Section("\n".join(lines), tuple(headings.values()))


def _can_be_heading(lines: list[str]) -> bool:
    """True if an underline would make a heading of the last line: a paragraph of one line."""
    before = lines[-2].strip() if len(lines) > 1 else ""
    return bool(lines[-1].strip()) and not before and not lines[-1].lstrip().startswith(("-", "*", ">", "|"))


def _text(content: bytes) -> Iterator[Section]:
    yield Section(_decoded(content))


def _html(content: bytes) -> Iterator[Section]:
    charset = _META_CHARSET.search(content[:4_096])
    reader = _HtmlReader()
    reader.feed(_decoded(content, charset[1].decode() if charset else None))
    reader.close()
    reader.end_section()
    return iter(reader.sections)


class _HtmlReader(HTMLParser):
    """Collects the visible text of a page in sections."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[Section] = []
        self._headings: dict[int, str] = {}
        self._text: list[str] = []
        self._unseen: str | None = None
        self._depth = 0
        self._level = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._unseen is not None:
            self._depth += tag == self._unseen
        elif tag in _UNSEEN:
            self._unseen, self._depth = tag, 1
        elif tag in _HEADING_TAGS:
            self.end_section()
            self._level = int(tag[1])
        elif tag in _BLOCKS:
            self._text.append("\n\n- " if tag == "li" else "\n\n")
        elif tag == "br":
            self._text.append("\n")
        elif tag in ("td", "th"):
            self._text.append(" | ")
        if tag == "body":
            self._unseen = None  # the end of a head may be left out

    def handle_endtag(self, tag: str) -> None:
        if self._unseen is not None:
            self._depth -= tag == self._unseen
            if self._depth <= 0:
                self._unseen = None
        elif tag in _HEADING_TAGS and self._level:
            title = _tidy("".join(self._text)).replace("\n", " ")
            self._text = []
            if title:
                above = {level: text for level, text in self._headings.items() if level < self._level}
                self._headings = above | {self._level: title}
            self._level = 0
        elif tag in _BLOCKS:
            self._text.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self._unseen is None:
            self._text.append(data)

    def end_section(self) -> None:
        """Keep what was read since the last heading."""
        self.sections.append(Section(_tidy("".join(self._text)), tuple(self._headings.values())))
        self._text = []


def _pdf(content: bytes) -> Iterator[Section]:
    from pypdf import PdfReader, errors  # noqa: PLC0415  # the API imports this module, and reads no PDF itself

    encrypted = UnreadableDocument("encrypted", "is encrypted; save it without a password")
    try:
        reader = PdfReader(BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise encrypted
        count = len(reader.pages)
        if count > MAX_PAGES:
            raise UnreadableDocument("too_long", f"has {count:,} pages; at most {MAX_PAGES:,} are read: divide it")
        for number, page in enumerate(reader.pages, 1):
            yield Section(_tidy(page.extract_text()), page=number)
    except (errors.DependencyError, errors.FileNotDecryptedError, NotImplementedError) as error:
        raise encrypted from error
    except (UnreadableDocument, MemoryError, RecursionError):
        raise
    except Exception as error:  # the library may raise anything for a damaged file
        raise UnreadableDocument("unreadable", "is not a PDF that can be read; open it and save it again") from error


def _decoded(content: bytes, charset: str | None = None) -> str:
    """The text of a file, decoded by its byte order mark, as UTF-8, by the charset it names, or as Windows-1252."""
    mark = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    for encoding in filter(None, (mark, "utf-8", charset, "cp1252")):
        try:
            text = content.decode(encoding)
        except (LookupError, ValueError):
            continue
        if "\x00" not in text:
            return text
    raise UnreadableDocument("unreadable", "is not text; send it as UTF-8")


def _tidy(text: str) -> str:
    """The text with single spaces, and at most one empty line between paragraphs."""
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _LINE_BREAKS.sub("\n\n", "\n".join(lines)).strip()


_READERS: Final[Mapping[DocumentFormat, Callable[[bytes], Iterator[Section]]]] = {
    "markdown": _markdown,
    "text": _text,
    "html": _html,
    "pdf": _pdf,
}
