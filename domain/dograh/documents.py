"""Documents of dograh's knowledge base as documents tools.

An export refers to documents by their ids only. If the response of dograh's API that lists documents stands beside the
graph, as `documents`, the nodes that refer to documents search the files with those names.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from domain.agents.document_files import MAX_FILES, file_name_error
from domain.agents.validation_errors import format_path, format_value, list_or_empty, mapping_or_empty
from domain.dograh.export_format import Export, ExportedNode

DOCUMENTS: Final = "documents"
SEARCH_TOOL: Final = "retrieve_from_knowledge_base"
"""Name under which dograh offers its search to the model."""


@dataclass
class ReadDocuments:
    """The documents beside an export: the names of their files by dograh's ids, and the tools that search them."""

    names: dict[str, str] = field(default_factory=dict)
    tools: dict[str, dict[str, object]] = field(default_factory=dict)
    tool_of: dict[str, str] = field(default_factory=dict)
    """The tool of each node that searches documents, by the node's id in the export."""
    warnings: list[str] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    """The ids of all documents beside the graph, including those that cannot be searched."""


def read_documents(export: Export, other_tools: Collection[str]) -> ReadDocuments:
    """The documents beside the graph, tools for the nodes that refer to them, and warnings about unusable ones."""
    read = ReadDocuments()
    beside = export.outside.get(DOCUMENTS)
    for index, entry in enumerate(list_or_empty(mapping_or_empty(beside).get(DOCUMENTS, beside))):
        given = mapping_or_empty(entry)
        uuid, name = given.get("document_uuid"), given.get("filename")
        if not isinstance(uuid, str) or uuid in read.listed:
            continue
        read.listed.add(uuid)
        error = file_name_error(name) if isinstance(name, str) else "has no filename"
        if isinstance(name, str) and error is None:
            read.names[uuid] = name
        else:
            path = format_path((DOCUMENTS, index))
            read.warnings.append(f"{path}: the document {format_value(name)} is left out: its name {error}")
    names: dict[tuple[str, ...], str] = {}
    for node in export.nodes:
        files = _files(node, read.names)
        if node.converses and files:
            tool = names.get(files)
            if tool is None:
                tool = names[files] = _free_name({*other_tools, *names.values()})
                read.tools[tool] = {"kind": "documents", "files": list(files)}
            read.tool_of[node.id] = tool
    return read


def _files(node: ExportedNode, names: Mapping[str, str]) -> tuple[str, ...]:
    uuids = list_or_empty(node.data.get("document_uuids"))
    found = (names[uuid] for uuid in uuids if isinstance(uuid, str) and uuid in names)
    return tuple(dict.fromkeys(found))[:MAX_FILES]


def _free_name(taken: Collection[str]) -> str:
    number = 1
    while (name := SEARCH_TOOL if number == 1 else f"{SEARCH_TOOL}_{number}") in taken:
        number += 1
    return name
