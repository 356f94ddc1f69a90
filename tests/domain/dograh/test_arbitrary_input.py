"""Arbitrary input as a dograh export is an agent or a list of errors, never another exception."""

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.agents.definition import InvalidAgent, parse_definition
from domain.dograh.importer import ImportedAgent, import_dograh

Data = dict[str, Any]

DOWNLOAD: Data = json.loads((Path(__file__).parent / "exports" / "dental-reception.json").read_text())

WORDS = st.sampled_from(["1", "2", "startCall", "endCall", "webhook", "prompt", "label", "{{", "{{a}}", "", "\x00"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8) | WORDS, children, max_size=4)
    ),
    max_leaves=12,
)


def spots_in(value: object) -> list[tuple[Any, Any]]:
    """Every container with a key or index in it, depth first."""
    if isinstance(value, dict):
        return [spot for key, item in value.items() for spot in [(value, key), *spots_in(item)]]
    if isinstance(value, list):
        return [spot for index, item in enumerate(value) for spot in [(value, index), *spots_in(item)]]
    return []


@st.composite
def mutated_exports(draw: st.DrawFn) -> Data:
    """The download with a few of its parts replaced, removed, doubled or exchanged."""
    export = copy.deepcopy(DOWNLOAD)
    for _ in range(draw(st.integers(1, 5))):
        spots = spots_in(export)
        if not spots:
            break
        container, key = draw(st.sampled_from(spots))
        match draw(st.sampled_from(["replace", "remove", "double", "exchange"])):
            case "remove":
                container.pop(key)
            case "double" if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case "exchange":
                other, other_key = draw(st.sampled_from(spots))
                container[key] = copy.deepcopy(other[other_key])
            case _:
                container[key] = draw(JSON)
    return export


def outcome_of(export: object) -> ImportedAgent | InvalidAgent:
    try:
        return import_dograh(export, name="agent")
    except InvalidAgent as error:
        return error


def imported_or_refused(export: object) -> None:
    outcome = outcome_of(export)
    if isinstance(outcome, InvalidAgent):
        assert outcome.issues
        assert all(issue.path and issue.message for issue in outcome.issues)
        assert len(set(outcome.issues)) == len(outcome.issues)
        str(outcome).encode()  # messages about text that cannot be encoded can be encoded
        return
    assert parse_definition(json.loads(outcome.definition.model_dump_json())) == outcome.definition
    origins = [node.origin.id for node in outcome.definition.nodes.values() if node.origin]
    assert len(set(origins)) == len(origins) == len(outcome.definition.nodes)
    for warning in outcome.warnings:
        warning.encode()
        assert ": " in warning


@given(JSON)
def test_any_json_is_imported_or_refused(export: object) -> None:
    imported_or_refused(export)


@settings(max_examples=200)
@given(mutated_exports())
def test_any_mutated_export_is_imported_or_refused(export: Data) -> None:
    imported_or_refused(export)
