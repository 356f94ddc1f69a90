"""Files are read in processes of their own: hostile ones are rejected with a reason, and never block the event loop."""

import asyncio
import zlib

import pytest

import api.documents.reader
from api.documents.extraction import UnreadableDocument
from api.documents.reader import DocumentReader, ReaderBusy
from domain.agents.document_files import DocumentFormat
from tests.support.pdf_files import pdf, pdf_of_streams

BOMB = pdf_of_streams([zlib.compress(b"0" * 5_000_000)])
HOSTILE: dict[str, tuple[bytes, DocumentFormat, set[str]]] = {
    "a page that expands to forty million bytes": (
        pdf_of_streams([b"q " * 20_000_000]),
        "pdf",
        {"too_costly", "unreadable", "no_text"},
    ),
    "a page within a page": (BOMB, "pdf", {"no_text", "unreadable"}),
    "a hundred thousand headings": ("\n".join(f"# {n}\nx" for n in range(100_000)).encode(), "markdown", {"too_long"}),
    "tags that are never closed": (b"<div>" * 200_000, "html", {"no_text", "too_costly"}),
    "an open comment in an open comment": (b"<!--" * 300_000, "html", {"no_text", "too_costly", "too_long"}),
    "an endless declaration": (b"<![" * 400_000, "html", {"no_text", "too_costly", "too_long", "unreadable"}),
    "pages that are each other's": (
        pdf("x").replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]"),
        "pdf",
        {"unreadable", "no_text", "too_costly"},
    ),
    "an encrypted file": (
        pdf_of_streams(
            [b"BT ET"],
            trailer=b"/ID [<00><00>] /Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O <"
            + b"00" * 32
            + b"> /U <"
            + b"11" * 32
            + b"> >>",
        ),
        "pdf",
        {"encrypted"},
    ),
}


async def test_a_file_becomes_passages_with_their_source() -> None:
    document = await DocumentReader().read(pdf("Vongole, 18 euros.", "By telephone."), "pdf")
    assert (document.format, document.pages, document.characters) == ("pdf", 2, 31)
    assert [(each.page, each.text) for each in document.passages] == [(1, "Vongole, 18 euros."), (2, "By telephone.")]
    document = await DocumentReader().read("# Men\xfa\nWords.".encode(), "markdown")
    assert [(each.heading, each.text, each.page) for each in document.passages] == [("Men\xfa", "Words.", None)]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_is_rejected_with_a_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.documents.reader, "PROCESSOR_SECONDS", 1)
    content, form, reasons = HOSTILE[name]
    with pytest.raises(UnreadableDocument) as error:
        await DocumentReader().read(content, form)
    assert error.value.reason in reasons


async def test_a_process_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.documents.reader, "READING_SECONDS", 0.001)
    with pytest.raises(UnreadableDocument) as error:
        await DocumentReader().read(b"x", "text")
    assert error.value.reason == "too_costly"


async def test_files_wait_for_each_other_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.documents.reader, "MAX_PROCESSES", 0)
    monkeypatch.setattr(api.documents.reader, "WAITING_SECONDS", 0.01)
    with pytest.raises(ReaderBusy):
        await DocumentReader().read(b"x", "text")


async def test_a_cancelled_read_ends_its_process() -> None:
    reader = DocumentReader()
    for _ in range(3):
        reading = asyncio.create_task(reader.read(b"x", "text"))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert (await reader.read(b"Words.", "text")).characters == 6
