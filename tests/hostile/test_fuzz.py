"""Fuzzed agents, suites, exports and webhooks are parsed or rejected with issues, at little cost.

FUZZ_EXAMPLES=5000 pytest tests/hostile/test_fuzz.py     for a longer look, with other inputs each time
"""

import json
import os
from time import process_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.schemas.agent_files import read_agent, read_export
from api.schemas.examples import DEFINITION, DEFINITION_YAML
from api.schemas.structured_text import TextFormat, parse_text
from api.schemas.suite_examples import DEFINITION as SUITE
from api.schemas.suite_examples import DEFINITION_YAML as SUITE_YAML
from api.schemas.suite_files import SuiteOverrides, read_suite
from domain.agents.definition import AgentDefinition
from domain.agents.validation_errors import InvalidDefinition, ValidationIssue
from tests.hostile.inputs import hostile_inputs

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
MAX_SECONDS = 2.0

fuzz = settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
WORDS = st.sampled_from(
    [
        *(
            "<<",
            "*a",
            "&a",
            "!!int",
            "!!map",
            "!!str",
            "? ",
            ": ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            "|",
            ">",
            "%YAML 9",
            "---",
            "...",
        ),
        *(
            "'",
            '"',
            "#",
            "\n",
            "\n  ",
            "\t",
            "\x00",
            "\ud800",
            "\ufeff",
            "1:1:1",
            "0x",
            "1e999",
            ".nan",
            "2026-02-31",
            "=",
            "~",
        ),
        *(
            "name",
            "start",
            "nodes",
            "tools",
            "pattern",
            "parameters",
            "webhook",
            "scenarios",
            "checks",
            "(?=x)",
            r"\w{99}",
        ),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10) | WORDS, inner, max_size=5),
    max_leaves=30,
)
EXPORT = {
    "nodes": [
        {
            "id": "1",
            "type": "startCall",
            "data": {
                "name": "Start",
                "prompt": "Greet.",
                "extraction_enabled": True,
                "extraction_prompt": "All of it.",
                "extraction_variables": [{"name": "size", "type": "number", "prompt": "How many?"}],
                "pre_call_fetch_enabled": True,
                "pre_call_fetch_url": "https://service.example/",
            },
        },
        {"id": "2", "type": "endCall", "data": {"name": "End", "prompt": "Say goodbye."}},
    ],
    "edges": [{"id": "e", "source": "1", "target": "2", "data": {"label": "done", "condition": "all is said"}}],
}


@st.composite
def broken_texts(draw: st.DrawFn, text: str) -> bytes:
    """A text with some of its parts replaced, removed, doubled or filled with words that mean something to YAML."""
    for _ in range(draw(st.integers(1, 6))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 12)))
        middle = draw(st.sampled_from(["", text[begin:end] * 2]) | WORDS | st.text(max_size=6))
        text = text[:begin] + middle + text[end:]
    return text.encode(errors="surrogatepass")


@st.composite
def broken_values(draw: st.DrawFn, value: object) -> object:
    """A copy of a value in which some parts are replaced by anything."""
    if draw(st.integers(0, 11)) == 0:
        return draw(VALUES)
    if isinstance(value, dict):
        changed: dict[str, Any] = {key: draw(broken_values(item)) for key, item in value.items()}
        if draw(st.integers(0, 9)) == 0:
            changed[draw(st.text(max_size=8) | WORDS)] = draw(VALUES)
        return changed
    if isinstance(value, list):
        return [draw(broken_values(item)) for item in value]
    return value


def _issues(kind: str, text: bytes, written: TextFormat) -> tuple[ValidationIssue, ...]:
    """The issues of a text that is read as the API does; none if it is valid. Nothing else may be raised."""
    try:
        if kind == "agent":
            definition = read_agent(text, written)
            assert AgentDefinition.model_validate_json(definition.model_dump_json()) == definition
        elif kind == "suite":
            read_suite(text, written, SuiteOverrides())
        elif kind == "export":
            read_export(text, written, "a")
        else:
            parse_text(text, written)
    except InvalidDefinition as error:
        return error.issues
    return ()


def _read(kind: str, text: bytes, written: TextFormat) -> None:
    """Read a text in little time, with issues that can be listed and sent."""
    began = process_time()
    issues = _issues(kind, text, written)
    assert process_time() - began < MAX_SECONDS
    assert len(issues) <= 100
    for issue in issues:
        json.dumps([issue.path, issue.message], ensure_ascii=False).encode()


@fuzz
@given(broken_texts(DEFINITION_YAML))
def test_broken_yaml_of_an_agent_is_refused(text: bytes) -> None:
    _read("agent", text, "yaml")


@fuzz
@given(broken_texts(SUITE_YAML))
def test_broken_yaml_of_a_suite_is_refused(text: bytes) -> None:
    _read("suite", text, "yaml")


@fuzz
@given(broken_texts(json.dumps(EXPORT)), st.sampled_from(["json", "yaml"]))
def test_broken_text_of_an_export_is_refused(text: bytes, written: TextFormat) -> None:
    _read("export", text, written)


@pytest.mark.parametrize(("kind", "whole"), [("agent", DEFINITION), ("suite", SUITE), ("export", EXPORT)])
def test_broken_values_are_refused(kind: str, whole: object) -> None:
    @fuzz
    @given(broken_values(whole))
    def run(value: object) -> None:
        _read(kind, json.dumps(value).encode(), "json")

    run()


@fuzz
@given(broken_values({"url": "https://service.example/hook", "secret": "hook", "events": ["session_completed"]}))
def test_broken_webhook_is_refused(webhook: object) -> None:
    issues = _issues("agent", json.dumps({**DEFINITION, "webhook": webhook}).encode(), "json")
    assert all(issue.path.startswith("webhook") for issue in issues), issues


@fuzz
@given(st.binary(max_size=200) | broken_texts("a: &a [1, {b: *a}]\n"), st.sampled_from(["json", "yaml"]))
def test_any_bytes_are_values_or_refused(text: bytes, written: TextFormat) -> None:
    assert len(_issues("text", text, written)) <= 1


def test_corpus_is_refused_by_the_readers_alone() -> None:
    for hostile in hostile_inputs():
        written: TextFormat = "yaml" if "yaml" in hostile.media_type else "json"
        kind = "export" if "dograh" in hostile.path else hostile.path.removeprefix("/v1/").removesuffix("s")
        _read(kind, hostile.body, written)
