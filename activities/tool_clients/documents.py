"""Documents tools: the passages of an agent's documents that match a query, as JSON with their source."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from pydantic import JsonValue

from activities.tool_clients.argument_validation import check_arguments
from activities.tool_clients.interface import ToolCall, ToolFailed
from activities.tool_clients.responses import compact_json, replace_unstorable
from contracts.tools import CallToolResult
from domain.agents.offered_tools import QUERY, offered_tool
from domain.agents.tools import DocumentLanguage, DocumentsTool
from store.database.errors import StoreUnavailable
from store.documents import FoundPassage

NOTHING_FOUND: Final = (
    "No passage matches. Search again with other words, or say that the documents do not contain the answer."
)


class PassageSearch(Protocol):
    """Searches documents; DocumentStore is the implementation."""

    async def search(
        self, organization_id: str, digests: Sequence[str], query: str, *, language: DocumentLanguage, most: int
    ) -> list[FoundPassage]:
        """The passages of these documents that match any word of the query, best first."""
        ...


async def search_documents(call: ToolCall, tool: DocumentsTool, documents: PassageSearch | None) -> CallToolResult:
    """Search the files of a tool. Raises ToolFailed for arguments that cannot be used, and while the store is down."""
    offered = offered_tool(call.name, tool)
    check_arguments(offered.parameters if offered else {}, call.arguments)
    if documents is None:
        raise ToolFailed("invalid_tool", "No documents can be searched here.")
    names = {file.sha256: file.name for file in tool.files if file.sha256 is not None}
    query = str(call.arguments[QUERY])
    try:
        found = await documents.search(
            call.organization_id, list(names), query, language=tool.language, most=tool.passages
        )
    except StoreUnavailable:
        raise ToolFailed("connection_failed", "The documents cannot be searched now.", retryable=True) from None
    passages: list[JsonValue] = [dict(_shown(names[each.digest], each)) for each in found]
    result: dict[str, JsonValue] = {"passages": passages}
    return CallToolResult(content=compact_json(result if passages else {**result, "note": NOTHING_FOUND}))


def _shown(name: str, found: FoundPassage) -> Iterator[tuple[str, JsonValue]]:
    yield "document", name
    if found.passage.page is not None:
        yield "page", found.passage.page
    if found.passage.heading:
        yield "heading", replace_unstorable(found.passage.heading)
    yield "text", replace_unstorable(found.passage.text)
