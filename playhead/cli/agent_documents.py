"""The files beside an agent that its documents tools search: found for a push, read for a validation."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from playhead.exit_codes import USAGE, CommandFailed

if TYPE_CHECKING:
    from domain.agents.definition import AgentDefinition


def files_beside(agent_file: Path, definition: "AgentDefinition") -> dict[str, bytes]:
    """The files of the definition that lie beside its file, by name, without those that it names by SHA-256."""
    wanted = [file.name for file in definition.documents if file.sha256 is None]
    return {name: content for name in wanted if (content := _content(agent_file, name)) is not None}


def document_issues(agent_file: Path, definition: "AgentDefinition") -> Iterator[tuple[str, str]]:
    """The files that are missing or cannot be read, as paths in the definition and messages."""
    import asyncio

    from api.documents.extraction import UnreadableDocument
    from api.documents.reader import DocumentReader
    from domain.agents.definition import DocumentsTool
    from domain.agents.document_files import document_format
    from domain.agents.validation_errors import format_path

    for tool_name, tool in definition.tools.items():
        for index, file in enumerate(tool.files if isinstance(tool, DocumentsTool) else ()):
            form = document_format(file.name)
            if file.sha256 is not None or form is None:
                continue
            path = format_path(("tools", tool_name, "files", index))
            content = _content(agent_file, file.name)
            if content is None:
                yield (
                    path,
                    f"there is no file {file.name} beside {agent_file.name}; a push needs it, or an upload before",
                )
                continue
            try:
                asyncio.run(DocumentReader().read(content, form))
            except UnreadableDocument as error:
                yield path, f"the file {file.name} {error}"


def read_document(file: Path) -> bytes:
    """The content of a file to upload. Raises CommandFailed when it cannot be read or is too large."""
    from api.http.body_limit import MAX_DOCUMENT_BYTES

    try:
        if file.stat().st_size > MAX_DOCUMENT_BYTES:
            raise CommandFailed(
                f"{file} has more than {MAX_DOCUMENT_BYTES:,} bytes, the most of a document.", status=USAGE
            )
        return file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.", status=USAGE) from error


def _content(agent_file: Path, name: str) -> bytes | None:
    """The content of a file in the folder of the agent; None if there is none, or if a link leads out of it."""
    folder = agent_file.resolve().parent
    path = (folder / name).resolve()
    return read_document(path) if path.is_relative_to(folder) and path.is_file() else None
