"""Fuzzed agents, suites, exports and webhooks are parsed or rejected with issues, at little cost.

`make fuzz` runs each fuzzer for a minute (FUZZ_SECONDS), with other inputs each time, as CI does. Without
FUZZ_SECONDS each reads a few hundred inputs, always the same.
"""

import json
import os
from random import randrange
from time import monotonic, process_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
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

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = 100
"""Inputs of one round."""
MAX_SECONDS = 2.0

Input = tuple[str, bytes, TextFormat]
"""The kind of an input, its text and the format that it is sent in."""

fuzzing = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)
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


def _read(given_input: Input) -> None:
    """Read an input in little time, with issues that can be listed and sent."""
    kind, text, written = given_input
    began = process_time()
    issues = _issues("agent" if kind == "webhook" else kind, text, written)
    assert process_time() - began < MAX_SECONDS
    assert len(issues) <= (1 if kind == "text" else 100)
    for issue in issues:
        json.dumps([issue.path, issue.message], ensure_ascii=False).encode()
        assert kind != "webhook" or issue.path.startswith("webhook"), issue


def _described(kind: str, texts: st.SearchStrategy[bytes], *written: TextFormat) -> st.SearchStrategy[Input]:
    """Inputs of a kind in these formats."""
    return st.tuples(st.just(kind), texts, st.sampled_from(written))


def _json(values: st.SearchStrategy[object]) -> st.SearchStrategy[bytes]:
    return values.map(lambda value: json.dumps(value).encode())


WEBHOOK = {"url": "https://service.example/hook", "secret": "hook", "events": ["session_completed"]}
INPUTS: dict[str, tuple[st.SearchStrategy[Input], ...]] = {
    "agent": (
        _described("agent", broken_texts(DEFINITION_YAML), "yaml"),
        _described("agent", _json(broken_values(DEFINITION)), "json"),
    ),
    "suite": (
        _described("suite", broken_texts(SUITE_YAML), "yaml"),
        _described("suite", _json(broken_values(SUITE)), "json"),
    ),
    "dograh": (
        _described("export", broken_texts(json.dumps(EXPORT)), "json", "yaml"),
        _described("export", _json(broken_values(EXPORT)), "json"),
    ),
    "webhook": (
        _described(
            "webhook", _json(broken_values(WEBHOOK).map(lambda webhook: {**DEFINITION, "webhook": webhook})), "json"
        ),
    ),
    "text": (_described("text", st.binary(max_size=200) | broken_texts("a: &a [1, {b: *a}]\n"), "json", "yaml"),),
}
"""Broken inputs, by the name of their fuzzer."""


@pytest.mark.parametrize("fuzzer", INPUTS)
def test_broken_input_is_parsed_or_refused(fuzzer: str) -> None:
    if FUZZ_SECONDS:
        _fuzz_for_seconds(st.one_of(*INPUTS[fuzzer]))
        return
    for inputs in INPUTS[fuzzer]:
        settings(fuzzing, max_examples=EXAMPLES, derandomize=True)(given(inputs)(_read))()


def _fuzz_for_seconds(inputs: st.SearchStrategy[Input]) -> None:
    """Rounds of examples, each with a seed of its own, until the time is over."""
    until = monotonic() + FUZZ_SECONDS
    while monotonic() < until:
        number = randrange(2**32)
        try:
            seed(number)(settings(fuzzing, max_examples=EXAMPLES)(given(inputs)(_read)))()
        except BaseException as error:
            error.add_note(f"The seed was {number}.")
            raise


def test_corpus_is_refused_by_the_readers_alone() -> None:
    for hostile in hostile_inputs():
        if hostile.path.partition("?")[0] not in ("/v1/agents", "/v1/suites"):
            continue  # read by the request model of its route
        written: TextFormat = "yaml" if "yaml" in hostile.media_type else "json"
        kind = "export" if "dograh" in hostile.path else hostile.path.removeprefix("/v1/").removesuffix("s")
        _read((kind, hostile.body, written))
