"""Documents beside an export of dograh: nodes that refer to them search their files."""

from typing import Any

from domain.agents.tools import DocumentsTool
from domain.dograh.documents import SEARCH_TOOL
from domain.dograh.importer import ImportedAgent, import_dograh

LISTED = [
    {"document_uuid": "d1", "filename": "faq.md"},
    {"document_uuid": "d2", "filename": "menu.pdf"},
    {"document_uuid": "d3", "filename": "contract.docx"},
]


def imported(documents: object, *uuids: object) -> ImportedAgent:
    """An agent whose two nodes refer to documents."""
    nodes: list[dict[str, Any]] = [
        {"id": "1", "type": "startCall", "data": {"name": "Start", "prompt": "Ask."}},
        {"id": "2", "type": "endCall", "data": {"name": "Bye", "prompt": "Bye."}},
    ]
    for node, refers in zip(nodes, uuids, strict=True):
        node["data"]["document_uuids"] = refers
    edges = [{"id": "e", "source": "1", "target": "2", "data": {"label": "done", "condition": "Done."}}]
    return import_dograh({"name": "n", "nodes": nodes, "edges": edges, "documents": documents})


def files(agent: ImportedAgent) -> dict[str, list[str]]:
    tools = agent.definition.tools
    return {name: [file.name for file in tool.files] for name, tool in tools.items() if isinstance(tool, DocumentsTool)}


def test_a_node_searches_the_files_of_its_documents() -> None:
    for documents in (LISTED, {"documents": LISTED, "total": 3}):
        agent = imported(documents, ["d1", "d2"], ["d2", "d1", "d2"])
        assert files(agent) == {SEARCH_TOOL: ["faq.md", "menu.pdf"], f"{SEARCH_TOOL}_2": ["menu.pdf", "faq.md"]}
        assert [node.tools for node in agent.definition.nodes.values()] == [(SEARCH_TOOL,), (f"{SEARCH_TOOL}_2",)]
        assert [warning for warning in agent.warnings if "document_uuids" in warning] == []
    same = imported(LISTED, ["d1"], ["d1"])
    assert files(same) == {SEARCH_TOOL: ["faq.md"]}


def test_unlisted_or_unreadable_documents_have_a_warning() -> None:
    agent = imported(LISTED, ["d1", "d9"], ["d3"])
    assert files(agent) == {SEARCH_TOOL: ["faq.md"]}
    unlisted, unreadable = (each for each in agent.warnings if "document" in each.partition(":")[0])
    assert unlisted.startswith("nodes[0].data.document_uuids: 1 of 2 left out")
    assert unreadable.startswith('documents[2]: the document "contract.docx" is left out')


def test_anything_beside_the_graph_is_read_without_an_error() -> None:
    for documents in (None, 7, "x", [7, {"document_uuid": []}, {"document_uuid": "d1"}], {"documents": 7}):
        assert files(imported(documents, ["d1"], None)) == {}
    for uuids in (7, "d1", [7, None], {"d1": "d1"}):
        agent = imported(LISTED, uuids, None)
        assert files(agent) == {}
        assert any("document_uuids" in warning for warning in agent.warnings)
