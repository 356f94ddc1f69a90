"""The process that reads the file on its standard input: `python -m api.documents.reading_process FORMAT SECONDS`.

It limits its processor time to SECONDS, and its memory, before it reads anything, and prints the passages as JSON.
"""

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, cast

from api.documents.extraction import UnreadableDocument, sections_of
from api.documents.passages import passages_of, without_blank
from domain.agents.document_files import DocumentFormat

MAX_PASSAGES: Final = 3_000
MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Address space, of which the interpreter and the PDF library take about a quarter."""


def main() -> None:
    """Read the file and print its pages and passages, or the reason why it is not read."""
    limit_process(int(sys.argv[2]))
    try:
        found = _read(sys.stdin.buffer.read(), cast(DocumentFormat, sys.argv[1]))
    except UnreadableDocument as error:
        found = {"reason": error.reason, "message": str(error)}
    except (MemoryError, RecursionError):
        found = {"reason": "too_costly", "message": "needs too much memory to read; divide it, or save it again"}
    text = json.dumps(found, ensure_ascii=False)
    sys.stdout.buffer.write(text.encode(errors="replace"))


def limit_process(processor_seconds: int) -> None:
    """Bound the processor time and the memory of this process; systems that cannot bound memory bound time only."""
    limits = (
        (resource.RLIMIT_CPU, processor_seconds),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in limits:
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def _read(content: bytes, format: DocumentFormat) -> dict[str, object]:
    passages: list[dict[str, object]] = []
    pages = None
    for section in sections_of(content, format):
        pages = section.page or pages
        for each in without_blank([section]):
            passages += _passages(each.heading, each.page, passages_of(each))
            if len(passages) > MAX_PASSAGES:
                raise UnreadableDocument("too_long", f"has more than {MAX_PASSAGES:,} passages; divide it")
    if not passages:
        raise UnreadableDocument("no_text", "has no text; a scan must be sent through text recognition first")
    return {"pages": pages, "passages": passages}


def _passages(heading: str, page: int | None, texts: Iterator[str]) -> Iterator[dict[str, object]]:
    return ({"text": text, "heading": heading, "page": page} for text in texts)


if __name__ == "__main__":
    main()
