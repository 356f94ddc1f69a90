"""The corpus of hostile inputs: small ones are files in `corpus/`, large ones are generated here.

An input that once cost too much is added here for good.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.pdf_files import pdf_of_streams

FOLDER = Path(__file__).parent / "corpus"
YAML, JSON, BINARY = "application/yaml", "application/json", "application/octet-stream"
MEBIBYTE = 1_048_576


@dataclass(frozen=True)
class HostileInput:
    """A body, and where it is sent."""

    name: str
    path: str
    media_type: str
    body: bytes


def hostile_inputs() -> Iterator[HostileInput]:
    """Every input of the corpus, as an agent, as an export and as a suite."""
    for name, media_type, body in [*_files(), *_yaml(), *_json(), *_agents()]:
        for kind, path in (("agent", "/v1/agents"), ("suite", "/v1/suites")):
            yield HostileInput(f"{name} as {kind}", path, media_type, body)
    for name, body in _exports():
        yield HostileInput(name, "/v1/agents?format=dograh&name=a", JSON, body)
    for name, body in _suites():
        yield HostileInput(name, "/v1/suites", JSON, body)
    for path, name, body in _lists():
        yield HostileInput(f"{name} at {path}", path, JSON, body)


def hostile_documents() -> Iterator[HostileInput]:
    """Files that expand when they are read, or that take a parser a long time."""
    for name, file, body in _documents():
        yield HostileInput(name, f"/v1/documents?name={file}", BINARY, body)


def regex_agent(patterns: int, pattern: str = r"^\w{2}x%d") -> dict[str, Any]:
    """An agent with one tool of this many parameters, each with its own pattern."""
    properties = {f"p{n}": {"type": "string", "pattern": pattern % n} for n in range(patterns)}
    return {
        "name": "patterns",
        "start": "only",
        "nodes": {"only": {"prompt": "Talk.", "greeting": "Hello.", "tools": ["look"]}},
        "tools": {
            "look": {
                "kind": "http",
                "description": "Looks something up.",
                "url": "https://service.example/",
                "parameters": {"type": "object", "properties": properties},
            }
        },
    }


def large_agents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Valid agents that are long as YAML."""
    only = {"start": "a", "nodes": {"a": {"prompt": "Talk.", "greeting": "Hello."}}}
    odd = "\u2028 \u00e9: '\" # "
    yield "a list of numbers", {"name": "numbers", **only, "context": {"a": [0] * 90_000}}
    yield "odd texts", {"name": "texts", **only, "context": {"a": [odd * 3 for _ in range(15_000)]}}
    yield "lists in lists", {"name": "lists", **only, "context": {f"k{n}": [[1]] * 80 for n in range(400)}}
    agent = {"name": "long", **only}
    yield "a long text", {**agent, "context": {"a": "a b: " * 150_000}}


def _lists() -> Iterator[tuple[str, str, bytes]]:
    """Request bodies with long lists of invalid entries, or with thousands of unknown fields."""
    for name, entry, count in (("numbers", "1", 500_000), ("objects", "{}", 330_000)):
        listed = f"[{','.join([entry] * count)}]"
        for path, field in (("/v1/chat/completions", "messages"), ("/v1/responses", "input")):
            yield path, name, f'{{"model": "a", "{field}": {listed}}}'.encode()
            parts = f'[{{"role": "user", "content": {listed}}}]'
            yield path, f"parts that are {name}", f'{{"model": "a", "{field}": {parts}}}'.encode()
    fields = ",".join(f'"k{n}": 1' for n in range(80_000))
    yield "/v1/sessions", "unknown fields", f'{{"agent": "a", {fields}}}'.encode()


def _files() -> Iterator[tuple[str, str, bytes]]:
    for file in sorted(FOLDER.iterdir()):
        yield file.name, JSON if file.suffix == ".json" else YAML, file.read_bytes()


def _yaml() -> Iterator[tuple[str, str, bytes]]:
    yield "a number to the base of 60", YAML, b"a: 1" + b":1" * 500_000
    yield "keys with one hash", YAML, b"{" + b",".join(b"%d: 1" % (n * (2**61 - 1)) for n in range(1, 30_000)) + b"}"
    yield "a long list", YAML, b"[" + b"a," * 500_000 + b"a]"
    yield "many keys", YAML, b"{" + b",".join(b"k%d: 1" % n for n in range(29_000)) + b"}"
    yield "deep", YAML, b"[" * 500_000
    yield "many anchors", YAML, b"[" + b",".join(b"&a%d {}" % n for n in range(80_000)) + b"]"


def _json() -> Iterator[tuple[str, str, bytes]]:
    yield "a deep list", JSON, b"[" * 500_000
    yield "a list of objects", JSON, b"[" + b"{}," * 340_000 + b"1]"
    yield "a long number", JSON, b'{"name": ' + b"9" * 1_000_000 + b"}"
    yield "a long text", JSON, b'{"name": "' + b"a" * 1_000_000 + b'"}'
    for field in ("nodes", "tools", "context", "limits", "scenarios"):
        for part in ("1", "{}", '{"kind": "http"}'):
            entries = ",".join(f'"k{n}": {part}' for n in range(30_000))
            yield f"{field} of {part}", JSON, f'{{"{field}": {{{entries}}}}}'.encode()


def _agents() -> Iterator[tuple[str, str, bytes]]:
    parts = ",".join(["{}"] * 98_000)
    for field in ("transitions", "extract", "tools"):
        yield f"a node with many {field}", JSON, f'{{"nodes": {{"a": {{"{field}": [{parts}]}}}}}}'.encode()
    node: dict[str, Any] = {"transitions": [{}] * 50, "extract": [{}] * 50}
    yield "many broken nodes", JSON, json.dumps({"nodes": {f"n{n}": node for n in range(200)}}).encode()
    yield "templates", JSON, json.dumps({"nodes": {"a": {"prompt": "{{" * 250_000}}}).encode()
    yield "patterns", JSON, json.dumps(regex_agent(700)).encode()
    yield "large patterns", JSON, json.dumps(regex_agent(700, r"\w{60}%d")).encode()
    yield "huge patterns", JSON, json.dumps(regex_agent(700, r"(\w{100}){100}%d")).encode()


def _exports() -> Iterator[tuple[str, bytes]]:
    variables = [{"name": f"v{n}", "type": "string"} for n in range(8_000)]
    data = {"extraction_enabled": True, "extraction_prompt": "x" * 500_000, "extraction_variables": variables}
    yield "an export with one long text for many variables", _export([{"id": "1", "type": "startCall", "data": data}])
    same = [{"id": str(n), "type": "agentNode", "data": {"name": "same"}} for n in range(15_000)]
    yield "an export of nodes with one name", _export(same)
    edges = [{"source": "1", "target": "nobody", "data": {}} for _ in range(15_000)]
    yield "an export of broken edges", _export([{"id": "1", "type": "startCall", "data": {}}], edges)


def _export(nodes: list[dict[str, Any]], edges: list[dict[str, Any]] | None = None) -> bytes:
    return json.dumps({"nodes": nodes, "edges": edges or []}).encode()


def _suites() -> Iterator[tuple[str, bytes]]:
    mocks = [{"tool": "t", "arguments": {f"a{n}": n}, "result": 1} for n in range(15_000)]
    yield "a suite of many mocks", json.dumps({"name": "s", "scenarios": [{"id": "a", "mocks": mocks}]}).encode()
    scenarios = [{"id": "a", "checks": {"never_matches": [rf"\w{{60}}{n}"]}} for n in range(10_000)]
    yield "a suite of many patterns", json.dumps({"name": "s", "scenarios": scenarios}).encode()
    yield "a suite of many scenarios", json.dumps({"name": "s", "scenarios": [{}] * 90_000}).encode()


def _documents() -> Iterator[tuple[str, str, bytes]]:
    yield "a page that expands to a hundred million bytes", "bomb.pdf", pdf_of_streams([b"q " * 50_000_000])
    yield "a hundred thousand sections", "sections.md", b"# a\nb\n" * 100_000
    yield "tags that are never closed", "tags.html", b"<div>" * 50_000
