"""Definitions of every kind that dograh's users have: each is imported, holds three turns, and is exported again.

A file has a `definition`, and the paths of its `warnings` in their order.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities.llm.interface import ModelCall, RecordCall
from domain.agents.definition import AgentDefinition, mermaid, parse_definition
from domain.agents.tools import OfferedTool
from domain.dograh.exporter import OWN_COPY, export_dograh
from domain.dograh.importer import import_dograh
from domain.turns.engine import (
    ExtractionResult,
    TurnProgress,
    apply_extraction,
    apply_reply,
    begin_turn,
    instructions_at,
    start_checkpoint,
    values_of,
)
from domain.turns.extraction import (
    EXTRACTION_CUE,
    RECORD_TOOL,
    extracted_values,
    extraction_instructions,
    extraction_schema,
)
from domain.turns.model_request import NO_ARGUMENTS_SCHEMA
from domain.turns.turn import Checkpoint
from playhead.services.model_providers import build_providers
from tests.support.simulated_call import EXAMPLES, example_agent

FILES = sorted((Path(__file__).parent / "definitions").glob("*.json"))
EXAMPLE_AGENTS = sorted(path.stem for path in (EXAMPLES / "agents").glob("*.yaml"))
MESSAGES = (None, "I would like to know when you are open.", "On Friday, please.")
NOW = datetime(2026, 11, 29, 21, 15, 30, tzinfo=UTC)


def read(file: Path) -> tuple[dict[str, Any], list[str]]:
    content = json.loads(file.read_text(encoding="utf-8"))
    return content["definition"], content["warnings"]


def test_there_are_at_least_twenty_definitions() -> None:
    assert len(FILES) >= 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_import_warns_only_of_what_it_leaves_out(file: Path) -> None:
    definition, expected = read(file)
    warnings = import_dograh(definition, name=file.stem).warnings
    paths = [warning.partition(": ")[0].removeprefix("workflow_definition.") for warning in warnings]
    assert paths == expected


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_an_imported_agent_answers_three_messages(file: Path) -> None:
    agent = import_dograh(read(file)[0], name=file.stem).definition
    conversation = Conversation(agent)
    for number, text in enumerate(MESSAGES):
        progress = await conversation.turn(f"turn_{number:012x}", text)
        assert progress.outcome in ("answered", "ended"), progress.error
        assert progress.text.strip() or any(event.type == "recording_referenced" for event in progress.events)
        if progress.outcome == "ended":
            break


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_imported_agent_is_exported_and_imported_again(file: Path) -> None:
    agent = import_dograh(read(file)[0], name=file.stem).definition
    assert_round_trip(agent)


@pytest.mark.parametrize("name", EXAMPLE_AGENTS)
def test_an_example_agent_is_exported_and_imported_again(name: str) -> None:
    assert_round_trip(example_agent(name))


def test_a_changed_export_is_read_from_its_graph() -> None:
    agent = import_dograh(read(FILES[0])[0], name="front").definition
    file: Any = json.loads(json.dumps(export_dograh(agent)))
    file["workflow_definition"]["nodes"][0]["data"]["prompt"] = "Changed."
    changed = import_dograh(file).definition
    assert changed.nodes[changed.start].prompt == "Changed."


def assert_round_trip(agent: AgentDefinition) -> None:
    """The file gives the same agent, and its graph alone the same conversation."""
    file = json.loads(json.dumps(export_dograh(agent)))
    imported = import_dograh(file)
    assert imported.definition == agent
    assert imported.warnings == ()
    assert parse_definition(imported.definition.model_dump(mode="json")) == agent
    graph = import_dograh({field: value for field, value in file.items() if field != OWN_COPY}).definition
    assert (graph.name, graph.prompt, graph.context) == (agent.name, agent.prompt, agent.context)
    assert len(mermaid(graph).splitlines()) == len(mermaid(agent).splitlines())
    own, moved = list(agent.nodes.values()), list(graph.nodes.values())
    for before, after in zip(own, moved, strict=True):
        assert (before.prompt, before.greeting, before.extract) == (after.prompt, after.greeting, after.extract)
        assert before.use_global_prompt == after.use_global_prompt
        assert [(each.name, each.when, each.say) for each in before.transitions] == [
            (each.name, each.when, each.say) for each in after.transitions
        ]


class Conversation:
    """One conversation with an agent and the demo model, without Temporal and store. Tools are not called."""

    def __init__(self, agent: AgentDefinition) -> None:
        self._agent = agent
        self._providers = build_providers(prices={})
        self._checkpoint: Checkpoint = start_checkpoint(agent)
        self._history: list[str] = []

    async def turn(self, turn_id: str, text: str | None) -> TurnProgress:
        progress = begin_turn(
            self._agent, self._checkpoint, turn_id=turn_id, user_text=text, at=NOW, initial_context={}
        )
        while progress.next_step:
            step = self._extracted if progress.next_step == "extraction" else self._replied
            progress = await step(progress)
        self._checkpoint = progress.checkpoint()
        return progress

    async def _replied(self, progress: TurnProgress) -> TurnProgress:
        node = self._agent.nodes[progress.node_id]
        answer = await self._providers.call(
            ModelCall(
                model="demo",
                instructions=instructions_at(self._agent, progress.node_id, values_of(self._agent, progress, {})),
                history=tuple(self._history),
                messages=progress.messages,
                tools=tuple(OfferedTool(way.tool_name, way.when, NO_ARGUMENTS_SCHEMA) for way in node.transitions),
                timeout=5.0,
            )
        )
        self._history.append(answer.messages)
        return apply_reply(self._agent, progress, answer.reply, at=NOW, initial_context={})

    async def _extracted(self, progress: TurnProgress) -> TurnProgress:
        node = self._agent.nodes[progress.node_id]
        values = values_of(self._agent, progress, {})
        answer = await self._providers.record(
            RecordCall(
                model="demo",
                instructions=extraction_instructions(node, values),
                history=tuple(self._history),
                asked=EXTRACTION_CUE,
                tool=RECORD_TOOL,
                description="Record what was found.",
                schema=extraction_schema(node.extract, values),
                timeout=5.0,
            )
        )
        found = ExtractionResult(values=extracted_values(node.extract, answer.reply.tool_calls[0].arguments))
        return apply_extraction(self._agent, progress, found, at=NOW, initial_context={})
