"""Validation of arguments with untrusted schemas, none of which makes a worker fetch, hang or fail."""

from typing import Any

import pytest

from activities.tool_clients.argument_validation import MAX_ERRORS, UnusableSchema, argument_errors
from domain.agents.safe_regex import UnsupportedRegex, is_supported_regex, matches

Schema = dict[str, Any]

GUESTS: Schema = {
    "type": "object",
    "properties": {"guests": {"type": "integer", "minimum": 1}, "day": {"type": "string", "pattern": r"^\d{4}-\d\d$"}},
    "required": ["guests"],
}


def of(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        ({"guests": 2, "day": "2026-12"}, []),
        ({}, ["'guests' is a required property"]),
        ({"guests": "2"}, ["guests: '2' is not of type 'integer'"]),
        ({"guests": 0}, ["guests: 0 is less than the minimum of 1"]),
        ({"guests": 1, "day": "today"}, [r"day: 'today' does not match '^\\d{4}-\\d\\d$'"]),
        ({"guests": 1, "dya": "x"}, ["dya: there is no such argument; expected one of: guests, day"]),
    ],
)
def test_each_invalid_argument_has_an_error(arguments: dict[str, Any], faults: list[str]) -> None:
    assert argument_errors(GUESTS, arguments) == faults


def test_faults_are_few_and_short() -> None:
    many = argument_errors(of(a={"type": "array", "items": {"type": "integer"}}), {"a": ["x" * 5_000] * 100})
    assert len(many) == MAX_ERRORS
    assert all(len(fault) < 400 for fault in many)


@pytest.mark.parametrize(
    "schema",
    [
        {**GUESTS, "additionalProperties": {"type": "string"}},
        {"type": "object", "anyOf": [of(other={}), of(more={})]},
        {"type": "object", "$ref": "#/$defs/a", "$defs": {"a": of(other={})}},
    ],
)
def test_schemas_that_declare_properties_elsewhere_accept_valid_arguments(schema: Schema) -> None:
    assert argument_errors(schema, {"guests": 1, "other": "x"}) == []


@pytest.mark.parametrize(
    "schema",
    [
        of(a={"type": "thing"}),
        of(a={"$ref": "#/$defs/nowhere"}),
        of(a={"$ref": "https://schemas.example/a.json"}),
        of(a={"$ref": "http://127.0.0.1:1/a.json"}),
        of(a={"$ref": "file:///etc/passwd"}),
        of(a={"$dynamicRef": "#nowhere"}),
        of(a={"pattern": "(?=x)"}),
        {"$ref": "#"},
        {
            **of(a={"$ref": "#/$defs/d0"}),
            "$defs": {**{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}, "d40": True},
        },
    ],
)
def test_an_unusable_schema_is_refused(schema: Schema) -> None:
    with pytest.raises(UnusableSchema):
        argument_errors(schema, {"a": "x"})


def test_schema_may_refer_to_itself() -> None:
    tree: Schema = {**of(tree={"$ref": "#/$defs/tree"}), "$defs": {}}
    tree["$defs"]["tree"] = of(leaves={"type": "array", "items": {"$ref": "#/$defs/tree"}})
    assert argument_errors(tree, {"tree": {"leaves": [{"leaves": []}]}}) == []
    assert argument_errors(tree, {"tree": {"leaves": [{"leaves": 1}]}}) == [
        "tree.leaves[0].leaves: 1 is not of type 'array'"
    ]


def test_a_pattern_takes_no_longer_on_a_text_crafted_against_it() -> None:
    # Backtracking engines need 2 to the power of 5,000 steps for this one.
    assert argument_errors(of(a={"pattern": "^(a+)+$"}), {"a": "a" * 5_000 + "!"}) != []


def test_patterns_are_found_anywhere_in_a_text() -> None:
    assert matches("b+", "abc")
    assert not matches("^b", "abc")
    assert is_supported_regex(r"^\p{L}+$")
    for pattern in ("(", r"(a)\1", "(?<=a)b", "(a{1000}){1000}"):
        assert not is_supported_regex(pattern)
        with pytest.raises(UnsupportedRegex):
            matches(pattern, "a")


def test_call_whose_patterns_take_too_many_steps_is_not_checked() -> None:
    schema = of(a={"type": "array", "items": {"pattern": "^(a|b){500}$"}})
    with pytest.raises(UnusableSchema, match="too many steps"):
        argument_errors(schema, {"a": ["ab" * 5_000] * 100})


def test_a_reference_into_a_value_cannot_use_an_unsafe_pattern() -> None:
    hidden: Schema = {"patternProperties": {"^(a+)+$": {}}}
    schema = of(a={"default": hidden, "$ref": "#/properties/a/default"})
    with pytest.raises(UnusableSchema, match="patternProperties"):
        argument_errors(schema, {"a": {"a" * 40 + "!": 1}})


def test_pattern_that_only_the_safe_engine_knows_can_be_used() -> None:
    assert argument_errors(of(a={"pattern": r"^\p{L}+$"}), {"a": "Ärzte"}) == []
