"""Parsing of agents: invalid YAML or JSON is one error with its location, and hostile input does no harm."""

from time import process_time

import pytest

from api.schemas.agent_files import read_agent
from api.schemas.examples import DEFINITION, DEFINITION_YAML
from api.schemas.structured_text import TextFormat
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
    text = b"a: {x: 1}\nb: {x: 2}\n"
    assert "is duplicated" not in fault_of(text).message


def test_aliases_do_not_multiply() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]" for level in range(1, 9)]
    assert "values, aliases unfolded" in fault_of("\n".join(lines).encode()).message


@pytest.mark.parametrize("key", ["<<", "!!merge x"])
def test_merge_key_is_refused_at_its_line(key: str) -> None:
    fault = fault_of(f"a: &common {{x: 1}}\nb:\n  {key}: *common\n".encode())
    assert (fault.path, fault.message[:10]) == ("line 3, column 3", "merge keys")
    assert "merge" not in fault_of(b'{"<<": 1}').message
    assert "merge" not in fault_of(b'{"<<": 1}', "json").message


def test_chain_of_merge_keys_is_refused_within_milliseconds() -> None:
    lines = ["l0: &l0 {x: 1}"]
    lines += [f"l{n}: &l{n}\n  <<: [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 20)]
    began = process_time()
    fault = fault_of("\n".join(lines).encode())
    assert fault.path == "line 3, column 3"
    assert process_time() - began < 0.5


@pytest.mark.parametrize(
    "text",
    [
        b'!!int ""',
        b'!!float ""',
        b"!!bool perhaps",
        b"!!timestamp now",
        b"!!map [a]",
        b"!!omap [a]",
        b"&a !!str {=: *a}",
        b"&a [*a]",
        b"a: 1" + b":1" * 200_000,  # one base-60 number
        b"{" + b", ".join(b"%d: 1" % (number * (2**61 - 1)) for number in range(1, 20_000)) + b"}",  # all of one hash
        b"[" + b"a," * 500_000 + b"a]",
        b"{" + b", ".join(b"k%d: 1" % number for number in range(29_000)) + b"}",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_values_that_break_or_slow_a_yaml_reader_are_faults(text: bytes) -> None:
    began = process_time()
    assert fault_of(text).message
    assert process_time() - began < 2


@pytest.mark.parametrize("part", ['"n%d": 1', '"n%d": {}', '"n%d": {"kind": "http"}'])
@pytest.mark.parametrize("field", ["nodes", "tools", "context"])
def test_definition_with_thousands_of_faults_lists_the_first_and_costs_little(field: str, part: str) -> None:
    entries = ", ".join(part % number for number in range(30_000))
    began = process_time()
    with pytest.raises(InvalidAgent) as caught:
        read_agent(f'{{"{field}": {{{entries}}}}}'.encode(), "json")
    assert process_time() - began < 2
    assert len(caught.value.issues) <= 100
    assert len(str(caught.value)) < 50_000


def test_node_with_a_hundred_thousand_broken_transitions_costs_little() -> None:
    began = process_time()
    with pytest.raises(InvalidAgent) as caught:
        read_agent(b'{"nodes": {"a": {"transitions": [' + b"{}," * 98_000 + b"{}]}}}", "json")
    assert process_time() - began < 2
    assert "nodes.a.transitions" in {fault.path for fault in caught.value.issues}


def test_many_broken_parts_within_the_limits_are_counted() -> None:
    node = '{"transitions": [' + ", ".join(["{}"] * 50) + "]}"
    nodes = ", ".join(f'"n{number}": {node}' for number in range(200))
    with pytest.raises(InvalidAgent) as caught:
        read_agent(f'{{"name": "a", "start": "n0", "nodes": {{{nodes}}}}}'.encode(), "json")
    assert len(caught.value.issues) == 100
    assert "(the first 100 are listed)" in str(caught.value)
