"""Uploads of documents, and the files of agents: each is pinned by its digest when the agent is stored."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from api.documents.extraction import UnreadableDocument
from api.documents.reader import DocumentReader, ReaderBusy
from api.http.problems import Problem, not_found
from domain.agents.definition import AgentDefinition, DocumentsTool, InvalidAgent
from domain.agents.document_files import DocumentFile, document_format, file_name_error
from domain.agents.tools import AnyTool
from domain.agents.validation_errors import ValidationIssue, format_path, format_value
from store.agents import AgentInUse, AgentStore, StoredAgent
from store.documents import DocumentStore, StoredDocument, TooManyDocuments

MAX_AGENT_DOCUMENTS: Final = 100
"""Maximum number of different documents of one agent."""


class DocumentService:
    """Stores, attaches and erases documents of organizations."""

    def __init__(self, documents: DocumentStore, agents: AgentStore, reader: DocumentReader) -> None:
        self._documents = documents
        self._agents = agents
        self._reader = reader

    async def upload(self, organization_id: str, name: str, content: bytes) -> tuple[StoredDocument, bool]:
        """Store a file as the newest of its name. Returns it, and true if its content is new to the organization.

        Raises Problem.
        """
        form = document_format(name)
        error = file_name_error(name)
        if form is None or error is not None:
            raise Problem("unsupported_media_type", f"The name of the document {error}. Nothing was stored.")
        digest = sha256(content).hexdigest()
        is_new = await self._documents.find(organization_id, digest) is None
        try:
            if is_new:
                await self._documents.add(organization_id, await self._reader.read(content, form))
            await self._documents.name(organization_id, digest, name)
        except UnreadableDocument as unreadable:
            detail = f"The document {name} {unreadable}. Nothing was stored."
            raise Problem("invalid_document", detail, reason=unreadable.reason) from unreadable
        except ReaderBusy as busy:
            raise Problem("rate_limited", "Other documents are being read. Nothing was stored; try again.") from busy
        except TooManyDocuments as many:
            detail = f"Nothing was stored: {many}. Delete documents that no agent needs."
            raise Problem("too_many_documents", detail, limit=many.limit, actual=many.actual) from many
        except LookupError as erased:
            raise not_found("document", digest) from erased
        stored = await self._documents.find(organization_id, digest)
        if stored is None:
            raise not_found("document", digest)
        return stored, is_new

    async def attach(
        self, organization_id: str, definition: AgentDefinition, sent: Mapping[str, str], *, dry_run: bool
    ) -> AgentDefinition:
        """The definition with the digest of every file: its own, that in `sent`, or the newest of its name.

        Raises InvalidAgent for files that the organization does not have. In a dry run those in `sent` may be missing.
        """
        issues: list[ValidationIssue] = []
        tools: dict[str, AnyTool] = {}
        for tool_name, tool in definition.tools.items():
            if not isinstance(tool, DocumentsTool):
                continue
            files: list[DocumentFile] = []
            for index, file in enumerate(tool.files):
                digest = await self._digest(organization_id, file, sent, dry_run=dry_run)
                if digest is None:
                    path = format_path(("tools", tool_name, "files", index))
                    issues.append(ValidationIssue(path=path, message=_missing(file)))
                files.append(file.model_copy(update={"sha256": digest}))
            tools[tool_name] = tool.model_copy(update={"files": tuple(files)})
        if not tools:
            return definition
        attached = definition.model_copy(update={"tools": {**definition.tools, **tools}})
        count = len({file.sha256 for file in attached.documents})
        if count > MAX_AGENT_DOCUMENTS:
            message = f"search {count} documents; at most {MAX_AGENT_DOCUMENTS} are allowed in one agent"
            issues.append(ValidationIssue(path="tools", message=message))
        if issues:
            raise InvalidAgent(issues)
        return attached

    async def erase(self, organization_id: str, digest: str) -> None:
        """Erase a document. Raises Problem when there is none."""
        if not await self._documents.erase(organization_id, digest):
            raise not_found("document", digest)

    async def erase_agent(self, agent: StoredAgent) -> None:
        """Erase an agent with its versions, and the documents that no other agent searches. Raises Problem."""
        try:
            searched = await self._agents.erase(agent.organization_id, agent.id)
        except AgentInUse as used:
            detail = (
                f"The agent {agent.name} has {used.objects}, which show its definition. Nothing was deleted. Sessions "
                "can be erased; an agent with suites stays."
            )
            raise Problem("agent_in_use", detail, objects=used.objects) from used
        if searched is None:
            raise not_found("agent", agent.name)
        for digest in await self._documents.unused(agent.organization_id, searched):
            await self._documents.erase(agent.organization_id, digest)

    async def _digest(
        self, organization_id: str, file: DocumentFile, sent: Mapping[str, str], *, dry_run: bool
    ) -> str | None:
        """The digest of a file; None when the organization has no such document."""
        digest = file.sha256 or sent.get(file.name)
        if digest is not None:
            is_coming = dry_run and file.sha256 is None
            return digest if is_coming or await self._documents.find(organization_id, digest) else None
        newest = await self._documents.named(organization_id, file.name)
        return newest.sha256 if newest else None


def _missing(file: DocumentFile) -> str:
    if file.sha256 is not None:
        return (
            f"the organization has no document with this sha256; remove the sha256 and send {format_value(file.name)}"
        )
    return (
        f"the organization has no document {format_value(file.name)}; upload it with POST /v1/documents first, or push "
        "the agent with the command line, which sends the files beside it"
    )
