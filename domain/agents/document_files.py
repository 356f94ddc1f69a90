"""Files that documents tools search: their names, formats and references."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

DocumentFormat = Literal["markdown", "text", "html", "pdf"]
FORMATS: Final[Mapping[str, DocumentFormat]] = {
    "md": "markdown",
    "markdown": "markdown",
    "txt": "text",
    "text": "text",
    "html": "html",
    "htm": "html",
    "pdf": "pdf",
}
"""The format of each file name extension."""
MAX_FILE_NAME_CHARACTERS: Final = 200
MAX_FILES: Final = 50
"""Files of one tool. An agent has at most twice as many."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class DocumentFile(BaseModel):
    """A file by the name it has beside its agent. `sha256` is set when the agent is stored, and keeps its version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, StringConstraints(pattern=r"\S", max_length=MAX_FILE_NAME_CHARACTERS)]
    sha256: Annotated[str, StringConstraints(max_length=64)] | None = None


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


FileReference = Annotated[DocumentFile, BeforeValidator(_named)]
"""A file, which may be written as its name alone."""


def document_format(name: str) -> DocumentFormat | None:
    """The format of a file by its extension; None if it is not supported."""
    _, dot, ending = name.rpartition(".")
    return FORMATS.get(ending.lower()) if dot else None


def is_digest(text: str) -> bool:
    """True for a SHA-256 in hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def file_name_error(name: str) -> str | None:
    """The reason why a document cannot have this name; None if it can."""
    if not name.strip() or len(name) > MAX_FILE_NAME_CHARACTERS or not name.isprintable():
        return f"must have 1 to {MAX_FILE_NAME_CHARACTERS} printable characters"
    if "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        return "must be the name of a file beside the agent or in a folder there, such as faq.md or docs/faq.md"
    if document_format(name) is None:
        return f"has no supported format: the name must end in one of {', '.join(f'.{ending}' for ending in FORMATS)}"
    return None
