"""The rules an agent's graph must keep, checked on what was written even where parts of it are malformed.

The rules read a sketch: every name and text that can be read, None for what cannot. So a malformed node hides
no issue of another one, and nothing is reported twice: what has the wrong form is left to the form check.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from domain.agents import templates
from domain.agents.names import SECRETS_VARIABLE, name_issues
from domain.agents.tool_validation import secret_references, tool_issues
from domain.agents.tools import MCP_SEPARATOR
from domain.agents.validation_errors import Location, NameSuggestions, ValidationIssue, format_path, format_value
from domain.agents.webhook import webhook_issues

# Checked here and not by the form: pydantic looks no further into a collection that is too long.
_MAX_ENTRIES = {"nodes": 200, "tools": 100, "context": 500}
_MAX_NODE_ENTRIES = {"tools": 50, "extract": 50, "transitions": 50}


@dataclass(frozen=True)
class _TextField:
    """A text with its path; `text` is None where no text was written."""

    location: Location
    text: str | None

    def issue(self, message: str) -> ValidationIssue:
        return ValidationIssue(path=format_path(self.location), message=message)


@dataclass(frozen=True)
class _PartialTransition:
    name: _TextField
    to: _TextField
    say: _TextField


@dataclass(frozen=True)
class _PartialNode:
    location: Location
    name: str
    prompt: _TextField
    greeting: _TextField
    end: bool
    use_global_prompt: bool
    tools: tuple[_TextField, ...]
    extract: tuple[_TextField, ...]
    arrows: tuple[_PartialTransition, ...]


@dataclass(frozen=True)
class _PartialGraph:
    start: _TextField
    pre_call_fetch: _TextField
    prompt: _TextField
    stops: Mapping[str, _PartialNode]
    unreadable_nodes: tuple[str, ...]
    tools: Mapping[str, Mapping[str, object]]
    node_names: Collection[str]
    tool_names: Collection[str]
    hints: NameSuggestions

    @property
    def servers(self) -> Collection[str]:
        return [name for name, tool in self.tools.items() if tool.get("kind") == "mcp"]

    @property
    def unreadable_tools(self) -> Collection[str]:
        return [name for name in self.tool_names if name not in self.tools]

    def unknown_node(self, name: str) -> str:
        return f"no node {format_value(name)}" + self.hints.about(name, self.node_names)


def transition_tool_name(name: str) -> str:
    """A transition's name as a function's: lower case, with _ for every character but a-z, 0-9 and _."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name).lower()


def reachable_nodes(start: str, arrows: Mapping[str, Iterable[str]]) -> set[str]:
    """The nodes that can be reached from the start, itself included; unknown nodes are left out."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in arrows and name not in reached:
            reached.add(name)
            waiting.extend(arrows[name])
    return reached


def semantic_issues(data: Mapping[str, object]) -> list[ValidationIssue]:
    """Every issue of meaning in a written definition, in the order of its nodes and tools."""
    sketch = _partial_graph(data)
    issues = [*_start(sketch), *_pre_call_fetch(sketch), *_template(sketch.prompt), *_sizes((), data, _MAX_ENTRIES)]
    for name in sketch.unreadable_nodes:
        issues += name_issues(("nodes", name), name)
    for stop in sketch.stops.values():
        issues += _sizes(stop.location, _mapping(_mapping(data["nodes"])[stop.name]), _MAX_NODE_ENTRIES)
        issues += _node(stop, sketch)
    issues += _unreachable(sketch)
    for name in sketch.unreadable_tools:
        issues += name_issues(("tools", name), name)
    for name, tool in sketch.tools.items():
        issues += tool_issues(name, tool, sketch.servers, sketch.hints)
    issues += webhook_issues(data.get("webhook"))
    if SECRETS_VARIABLE in _mapping(data.get("context")):
        message = "is the name under which tools find credentials; give the variable another name"
        issues.append(ValidationIssue(path=format_path(("context", SECRETS_VARIABLE)), message=message))
    return issues


def _node(stop: _PartialNode, sketch: _PartialGraph) -> Iterator[ValidationIssue]:
    yield from name_issues(stop.location, stop.name)
    yield from _missing_instructions(stop, sketch)
    yield from _template(stop.prompt)
    yield from _template(stop.greeting)
    yield from _node_tools(stop, sketch)
    yield from _extractions(stop)
    if stop.end and any(arrow.to.text is not None for arrow in stop.arrows):
        path = format_path((*stop.location, "transitions"))
        yield ValidationIssue(path=path, message="an end node has no transitions: remove them, or remove `end: true`")
    yield from _transition_names(stop, sketch)
    for arrow in stop.arrows:
        yield from _template(arrow.say)
        if arrow.to.text is not None and arrow.to.text not in sketch.node_names:
            yield arrow.to.issue(sketch.unknown_node(arrow.to.text))


def _sizes(location: Location, part: Mapping[str, object], most: Mapping[str, int]) -> Iterator[ValidationIssue]:
    for field, limit in most.items():
        entries = part.get(field)
        if isinstance(entries, list | dict) and len(entries) > limit:
            message = f"has {len(entries)} entries, at most {limit} are allowed"
            yield ValidationIssue(path=format_path((*location, field)), message=message)


def _pre_call_fetch(sketch: _PartialGraph) -> Iterator[ValidationIssue]:
    """It is a web service of the agent, which nobody can be asked to allow: there is no conversation yet."""
    name = sketch.pre_call_fetch.text
    if name is None or name in sketch.unreadable_tools:
        return
    tool = sketch.tools.get(name)
    if tool is None:
        yield sketch.pre_call_fetch.issue(f"no tool {format_value(name)}" + sketch.hints.about(name, sketch.tool_names))
    elif tool.get("kind") != "http" or tool.get("approval") is not None:
        yield sketch.pre_call_fetch.issue(f"{format_value(name)} must be a tool of kind http without an approval")


def _start(sketch: _PartialGraph) -> Iterator[ValidationIssue]:
    start = sketch.start.text
    if start is not None and sketch.node_names and start not in sketch.node_names:
        yield sketch.start.issue(sketch.unknown_node(start))


def _missing_instructions(stop: _PartialNode, sketch: _PartialGraph) -> Iterator[ValidationIssue]:
    """The model cannot speak for a node that gives it nothing to go by."""
    texts = [stop.prompt, stop.greeting, *([sketch.prompt] if stop.use_global_prompt else [])]
    if all(word.text is not None and not word.text.strip() for word in texts):
        yield stop.prompt.issue("is empty, and no greeting and no prompt of the agent stands in for it")


def _template(word: _TextField) -> Iterator[ValidationIssue]:
    for message in templates.syntax_errors(word.text or ""):
        yield word.issue(message)
    for name in secret_references(word.text or ""):
        yield word.issue(
            f"only tools may use credentials, so {{{{{SECRETS_VARIABLE}.{name or 'NAME'}}}}} says nothing here"
        )


def _node_tools(stop: _PartialNode, sketch: _PartialGraph) -> Iterator[ValidationIssue]:
    seen = set()
    for tool in stop.tools:
        if tool.text is None:
            continue
        if tool.text not in sketch.tool_names:
            yield tool.issue(f"no tool {format_value(tool.text)}" + sketch.hints.about(tool.text, sketch.tool_names))
        elif tool.text in seen:
            yield tool.issue(f"the node names the tool {format_value(tool.text)} twice")
        seen.add(tool.text)


def _extractions(stop: _PartialNode) -> Iterator[ValidationIssue]:
    seen = set()
    for variable in stop.extract:
        if variable.text is None or not variable.text.strip():
            continue
        if malformed := name_issues(variable.location, variable.text):
            yield from malformed
        elif variable.text in seen:
            yield variable.issue(f"the node extracts {format_value(variable.text)} twice")
        seen.add(variable.text)


def _transition_names(stop: _PartialNode, sketch: _PartialGraph) -> Iterator[ValidationIssue]:
    """The model tells transitions and tools apart by their names alone."""
    tools = {tool.text for tool in stop.tools}
    names = [
        (arrow.name, transition_tool_name(arrow.name.text)) for arrow in stop.arrows if arrow.name.text is not None
    ]
    counts = Counter(called for _, called in names)
    for word, called in names:
        if counts[called] > 1:
            message = (
                f"{counts[called]} transitions of this node reach the model as {format_value(called)}; rename them"
            )
            yield word.issue(message)
        if called in tools:
            yield word.issue(f"the node has a tool called {format_value(called)} as well; rename one of them")
        server = called.partition(MCP_SEPARATOR)[0]
        if called != server and server in tools and server in sketch.servers:
            yield word.issue(
                f"reaches the model as {format_value(called)}, as a tool of the MCP server {format_value(server)} would"
            )


def _unreachable(sketch: _PartialGraph) -> Iterator[ValidationIssue]:
    if sketch.start.text not in sketch.stops or sketch.unreadable_nodes:
        return
    arrows = {name: [arrow.to.text for arrow in stop.arrows] for name, stop in sketch.stops.items()}
    known = {name: [to for to in targets if to is not None] for name, targets in arrows.items()}
    reached = reachable_nodes(sketch.start.text or "", known)
    if any(to is None or to not in sketch.stops for name in reached for to in arrows[name]):
        return  # an arrow that leads nowhere yet may be the one that was meant to lead here
    for name, stop in sketch.stops.items():
        if name not in reached:
            message = f"no path of transitions leads here from the start {format_value(sketch.start.text)}"
            yield ValidationIssue(path=format_path(stop.location), message=message)


def _partial_graph(data: Mapping[str, object]) -> _PartialGraph:
    nodes = _mapping(data.get("nodes"))
    tools = _mapping(data.get("tools"))
    stops = {name: _partial_node(name, node) for name, node in nodes.items() if isinstance(node, dict)}
    return _PartialGraph(
        start=_text_field((), data, "start"),
        pre_call_fetch=_text_field((), data, "pre_call_fetch"),
        prompt=_text_field((), data, "prompt", default=""),
        stops=stops,
        unreadable_nodes=tuple(name for name in nodes if name not in stops),
        tools={name: tool for name, tool in tools.items() if isinstance(tool, dict)},
        node_names=nodes.keys(),
        tool_names=tools.keys(),
        hints=NameSuggestions(),
    )


def _partial_node(name: str, node: Mapping[str, object]) -> _PartialNode:
    location = ("nodes", name)
    transitions = node.get("transitions", [])
    # Where the transitions are no list, one that leads nobody knows where stands in for them.
    arrows = _parts((*location, "transitions"), transitions if isinstance(transitions, list) else [{}])
    extract = _parts((*location, "extract"), node.get("extract"))
    return _PartialNode(
        location=location,
        name=name,
        prompt=_text_field(location, node, "prompt", default=""),
        greeting=_text_field(location, {"greeting": node.get("greeting") or ""}, "greeting"),
        end=node.get("end") is True,
        use_global_prompt=node.get("use_global_prompt") is not False,
        tools=tuple(
            _TextField((*location, "tools", index), tool if isinstance(tool, str) else None)
            for index, tool in enumerate(_list(node.get("tools")))
        ),
        extract=tuple(_text_field(at, part, "name") for at, part in extract),
        arrows=tuple(
            _PartialTransition(
                name=_text_field(at, part, "name"), to=_text_field(at, part, "to"), say=_text_field(at, part, "say")
            )
            for at, part in arrows
        ),
    )


def _text_field(location: Location, part: Mapping[str, object], field: str, default: str | None = None) -> _TextField:
    value = part.get(field, default)
    return _TextField((*location, field), value if isinstance(value, str) else None)


def _parts(location: Location, value: object) -> list[tuple[Location, Mapping[str, object]]]:
    return [((*location, index), _mapping(part)) for index, part in enumerate(_list(value))]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
