"""Extraction of variables: the schema for the model, and the accepted values of its result."""

import json
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import JsonValue

from domain.agents.definition import Extraction, VariableType
from domain.turns.extraction import extracted_values, extraction_schema

WANTED = (
    Extraction(name="party_size", type="number", hint="how many guests"),
    Extraction(name="name"),
    Extraction(name="agreed", type="boolean"),
)


def read(kind: VariableType, value: JsonValue) -> JsonValue:
    """The accepted form of one extracted value; None if it is rejected."""
    return extracted_values([Extraction(name="it", type=kind)], {"it": value}).get("it")


def test_the_schema_names_every_variable_and_requires_none() -> None:
    assert extraction_schema(WANTED) == {
        "type": "object",
        "properties": {
            "party_size": {"type": "number", "description": "how many guests"},
            "name": {"type": "string"},
            "agreed": {"type": "boolean"},
        },
        "additionalProperties": False,
    }


def test_only_the_requested_variables_are_kept() -> None:
    recorded: dict[str, JsonValue] = {"party_size": 4, "agreed": False, "table": 7, "node_id": "goodbye"}
    assert extracted_values(WANTED, recorded) == {"party_size": 4, "agreed": False}
    assert extracted_values(WANTED, {}) == {}
    assert extracted_values((), recorded) == {}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (4, 4),
        (4.0, 4),
        (2.5, 2.5),
        ("4", 4),
        (" 2.50 ", 2.5),
        ("-3", -3),
        (0, 0),
        ("12345678901234567", 12345678901234567),
        (12345678901234567, 12345678901234567),
        ("four", None),
        ("4 people", None),
        ("", None),
        ("nan", None),
        ("1e999", None),
        (True, None),
        (None, None),
        ([4], None),
        ({"number": 4}, None),
    ],
    ids=repr,
)
def test_a_number_counts_also_when_it_was_written_as_text(value: JsonValue, number: float | None) -> None:
    found = read("number", value)
    assert (found, type(found)) == (number, type(number))


@pytest.mark.parametrize(
    ("value", "truth"),
    [
        *[(value, True) for value in (True, "true", "Yes", " TRUE ")],
        *[(value, False) for value in (False, "false", "No")],
        *[(value, None) for value in (1, 0, "perhaps", "", None, [True], {"true": True})],
    ],
    ids=repr,
)
def test_a_boolean_is_true_or_false_or_unknown(value: JsonValue, truth: bool | None) -> None:
    assert read("boolean", value) is truth


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ann", "Ann"),
        (" Ann \n", "Ann"),
        ("", None),
        (" \t", None),
        (7, "7"),
        (2.5, "2.5"),
        (True, "true"),
        (None, None),
        (["Ann"], None),
        ({"name": "Ann"}, None),
    ],
    ids=repr,
)
def test_a_text_is_trimmed_and_never_empty(value: JsonValue, text: str | None) -> None:
    assert read("string", value) == text


JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=4), parts, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["party_size", "name", "agreed", "other"])
EXTRACTIONS = st.builds(Extraction, name=NAMES, type=st.sampled_from(["string", "number", "boolean"]))


@given(wanted=st.lists(EXTRACTIONS, unique_by=lambda each: each.name), found=st.dictionaries(NAMES, JSON))
def test_extracted_values_fit_the_schema_and_are_stable(wanted: list[Extraction], found: dict[str, JsonValue]) -> None:
    schema = extraction_schema(wanted)
    Draft202012Validator.check_schema(schema)
    values = extracted_values(wanted, found)
    assert Draft202012Validator(schema).is_valid(values)
    assert all(isfinite(value) for value in values.values() if isinstance(value, float))
    assert json.loads(json.dumps(values)) == values
    assert extracted_values(wanted, values) == values


@given(st.dictionaries(NAMES, st.text(min_size=1).filter(lambda text: text == text.strip())))
def test_values_that_already_fit_are_unchanged(found: dict[str, JsonValue]) -> None:
    wanted = [Extraction(name=name) for name in found]
    assert extracted_values(wanted, found) == found
