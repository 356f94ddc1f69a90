"""Reading agents from text: what is no YAML or JSON is one fault with a place, and nothing hostile does harm."""

import pytest

from api.schemas.agent_files import TextFormat, read_agent
from api.schemas.examples import DEFINITION, DEFINITION_YAML
from domain.agents.definition import InvalidAgent, ValidationIssue, parse_definition


def fault_of(text: bytes, written: TextFormat = "yaml") -> ValidationIssue:
    with pytest.raises(InvalidAgent) as caught:
        read_agent(text, written)
    return caught.value.issues[0]


def test_the_example_reads_the_same_in_both_forms() -> None:
    assert read_agent(DEFINITION_YAML.encode(), "yaml") == parse_definition(DEFINITION)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name: library\nname: library\n", '"name" is duplicated'),
        (b"nodes:\n  desk: {prompt: a}\n  desk: {prompt: b}\n", '"desk" is duplicated'),
        (b"name: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        (b"name: a\n---\nname: b\n", "but found another document"),
        (b"name: \xff\xfe", "invalid"),
        (b"name: \x07", "control characters are not allowed"),
        (b"{" * 50_000, "nested too deeply"),
        (b"name: 2026-02-31", "day is out of range"),
        (b"", "must be a mapping"),
    ],
)
def test_text_that_is_no_definition_has_a_fault(text: bytes, message: str) -> None:
    assert message in fault_of(text).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"name": "a", "name": "b"}', '"name" is duplicated'),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"name": ' + b"9" * 5_000 + b"}", "digits"),
        (b'"\xff"', "is not UTF-8"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_is_no_definition_has_a_fault(text: bytes, message: str) -> None:
    assert message in fault_of(text, "json").message


def test_the_same_node_name_in_two_places_is_no_duplicate() -> None:
    text = b"a: &common {x: 1}\nb: {<<: *common, y: 2}\nc: {<<: *common, x: 3}\n"
    assert "is duplicated" not in fault_of(text).message


def test_aliases_do_not_multiply() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]" for level in range(1, 9)]
    assert "values, aliases unfolded" in fault_of("\n".join(lines).encode()).message
