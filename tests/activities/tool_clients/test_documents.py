"""Documents tools: passages with their source for the model, mocks, and a store that is down for a moment."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tool_clients.documents import NOTHING_FOUND
from activities.tool_clients.interface import ToolCall, ToolFailed
from domain.agents.tool_mocks import ToolMock
from domain.agents.tools import DocumentLanguage, DocumentsTool
from store.database.errors import StoreUnavailable
from store.documents import FoundPassage, Passage

DIGEST = "a" * 64
TOOL = DocumentsTool.model_validate(
    {"kind": "documents", "files": [{"name": "menu.pdf", "sha256": DIGEST}, "not-stored.md"], "passages": 2}
)


class Searched:
    """A store that finds these passages, and records its queries."""

    def __init__(self, *passages: Passage, is_down: bool = False) -> None:
        self.passages = passages
        self.is_down = is_down
        self.asked: list[tuple[object, ...]] = []

    async def search(
        self, organization_id: str, digests: Sequence[str], query: str, *, language: DocumentLanguage, most: int
    ) -> list[FoundPassage]:
        self.asked.append((organization_id, list(digests), query, language, most))
        if self.is_down:
            raise StoreUnavailable("sqlite", OSError("down"))
        return [FoundPassage(digest=DIGEST, passage=each) for each in self.passages]


def call(arguments: dict[str, Any], *mocks: ToolMock) -> ToolCall:
    return ToolCall(
        organization_id="org",
        name="menu",
        called="menu",
        tool=TOOL,
        arguments=arguments,
        context={},
        idempotency_key="k",
        mocks=mocks,
    )


async def test_passages_are_json_with_their_source() -> None:
    searched = Searched(Passage("Vongole.\x00", "Menu > Fish", 3), Passage("Wine."))
    result = await ToolDispatcher(credentials={"KEY": "Wine"}, documents=searched).run(call({"query": "fish"}))
    assert json.loads(result.content) == {
        "passages": [
            {"document": "menu.pdf", "page": 3, "heading": "Menu > Fish", "text": "Vongole.\ufffd"},
            {"document": "menu.pdf", "text": "Wine."},
        ]
    }
    assert searched.asked == [("org", [DIGEST], "fish", "english", 2)]
    nothing = await ToolDispatcher(credentials={}, documents=Searched()).run(call({"query": "sushi"}))
    assert json.loads(nothing.content) == {"passages": [], "note": NOTHING_FOUND}


@pytest.mark.parametrize("arguments", [{}, {"query": ""}, {"query": 7}, {"query": "x" * 501}, {"query": "x", "k": 1}])
async def test_malformed_arguments_are_an_error_for_the_model(arguments: dict[str, Any]) -> None:
    with pytest.raises(ToolFailed) as failure:
        await ToolDispatcher(credentials={}, documents=Searched()).run(call(arguments))
    assert (failure.value.code, failure.value.retryable) == ("invalid_arguments", False)


async def test_a_search_is_retried_while_the_store_is_down() -> None:
    with pytest.raises(ToolFailed) as failure:
        await ToolDispatcher(credentials={}, documents=Searched(is_down=True)).run(call({"query": "fish"}))
    assert (failure.value.code, failure.value.retryable) == ("connection_failed", True)


async def test_a_mock_is_answered_without_a_search() -> None:
    searched = Searched()
    mock = ToolMock(tool="menu", arguments={"query": "fish"}, result={"passages": []})
    result = await ToolDispatcher(credentials={}, documents=searched).run(call({"query": "fish"}, mock))
    assert json.loads(result.content) == {"passages": []}
    assert searched.asked == []


async def test_the_model_sees_a_description_and_the_form_of_the_query() -> None:
    (offered,) = await ToolDispatcher(credentials={}).list_tools("org", {"menu": TOOL}, ["menu"], {})
    assert "menu.pdf, not-stored.md" in offered.description
    assert offered.parameters["required"] == ["query"]
    described = TOOL.model_copy(update={"description": "Reads the menu."})
    (offered,) = await ToolDispatcher(credentials={}).list_tools("org", {"menu": described}, ["menu"], {})
    assert offered.description == "Reads the menu."
