"""Reads files in separate processes, a few at once, each with a deadline, which isolates the API from hostile files."""

import asyncio
import os
import sys
from functools import partial
from hashlib import sha256
from typing import Final

from pydantic import BaseModel, ConfigDict

from api.documents.extraction import UnreadableDocument, UnreadableReason
from api.http.reading_threads import ReadingThreads
from domain.agents.document_files import DocumentFormat
from store.documents import DocumentText, Passage

MAX_PROCESSES = 2
"""Files that are read at once; others wait."""
PROCESSOR_SECONDS = 10
READING_SECONDS = 30.0
"""Upper bounds on the processor time and on the time for one file."""
WAITING_SECONDS = 20.0
"""Upper bound on the time to wait until other files are read."""
_COMMAND: Final = (sys.executable, "-P", "-B", "-m", "api.documents.reading_process")
_TOO_COSTLY: Final = "takes too long or too much memory to read; divide it, or save it again"


class ReaderBusy(Exception):
    """The file could not be read in time because other files are being read."""


class _ReadPassage(BaseModel):
    text: str
    heading: str
    page: int | None


class _ReadFile(BaseModel):
    """The output of the process: passages, or a reason."""

    model_config = ConfigDict(extra="forbid")

    pages: int | None = None
    passages: tuple[_ReadPassage, ...] = ()
    reason: UnreadableReason | None = None
    message: str = ""


class DocumentReader:
    """Reads files into passages."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_PROCESSES)
        self._parsing = ReadingThreads()

    async def read(self, content: bytes, format: DocumentFormat) -> DocumentText:
        """The text of a file. Raises UnreadableDocument, and ReaderBusy when no process is free for too long."""
        try:
            async with asyncio.timeout(WAITING_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise ReaderBusy from None
        try:
            output = await _output(content, format)
        finally:
            self._places.release()
        # The output can be as large as the text of a document, so it is parsed in a thread.
        try:
            return await self._parsing.run(partial(_text, content, format, output))
        except TimeoutError:
            raise ReaderBusy from None


async def _output(content: bytes, format: DocumentFormat) -> bytes:
    """The output of a process that reads the file. It gets no settings, which hold credentials."""
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ.get("PATH", "")}
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        format,
        str(PROCESSOR_SECONDS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    try:
        async with asyncio.timeout(READING_SECONDS):
            output, _ = await process.communicate(content)
    except TimeoutError:
        raise UnreadableDocument("too_costly", _TOO_COSTLY) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise UnreadableDocument("too_costly", _TOO_COSTLY)
    return output


def _text(content: bytes, format: DocumentFormat, output: bytes) -> DocumentText:
    read = _ReadFile.model_validate_json(output)
    if read.reason is not None:
        raise UnreadableDocument(read.reason, read.message)
    return DocumentText(
        digest=sha256(content).hexdigest(),
        format=format,
        bytes=len(content),
        pages=read.pages,
        passages=tuple(Passage(text=each.text, heading=each.heading, page=each.page) for each in read.passages),
    )
