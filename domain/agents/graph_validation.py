"""Semantic validation of an agent's graph, applied to parsed data, even if parts of it are malformed.

The rules use a partial graph, with None for malformed parts. So a malformed node does not hide issues of other nodes,
and nothing is reported twice: malformed parts are issues of the schema validation.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from domain.agents import templates
from domain.agents.names import SECRETS_VARIABLE, name_issues
from domain.agents.safe_regex import RegexLimits
from domain.agents.tool_validation import secret_references, tool_issues
from domain.agents.tools import MCP_SEPARATOR
from domain.agents.validation_errors import (
    Location,
    NameSuggestions,
    ValidationIssue,
    format_path,
    format_value,
    list_or_empty,
    mapping_or_empty,
)
from domain.agents.webhook import webhook_issues

# Checked here instead of in the model: pydantic does not validate the entries of a collection that is too long.
# Entries beyond these numbers are not examined.
_MAX_ENTRIES = {"nodes": 200, "tools": 100, "context": 500}
_MAX_NODE_ENTRIES = {"tools": 50, "extract": 50, "transitions": 50}
_MAX_PARTS = 50


@dataclass(frozen=True)
class _TextField:
    """A text with its location; `text` is None if the value is missing or not text."""

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
    extract_prompt: _TextField
    hints: tuple[_TextField, ...]
    transitions: tuple[_PartialTransition, ...]


@dataclass(frozen=True)
class _PartialGraph:
    start: _TextField
    pre_call_fetch: _TextField
    prompt: _TextField
    nodes_by_name: Mapping[str, _PartialNode]
    malformed_nodes: tuple[str, ...]
    tools: Mapping[str, Mapping[str, object]]
    node_names: Collection[str]
    tool_names: Collection[str]
    malformed_tools: Collection[str]
    servers: Collection[str]
    suggestions: NameSuggestions
    lenient: bool

    def unknown_node(self, name: str) -> str:
        return f"no node {format_value(name)}" + self.suggestions.about(name, self.node_names)


def transition_tool_name(name: str) -> str:
    """The tool name of a transition: lower case, with _ for every character except a-z, 0-9 and _."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name).lower()


def reachable_nodes(start: str, transitions: Mapping[str, Iterable[str]]) -> set[str]:
    """The nodes reachable from the start, including it, without unknown nodes."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in transitions and name not in reached:
            reached.add(name)
            waiting.extend(transitions[name])
    return reached


def semantic_issues(data: Mapping[str, object]) -> Iterator[ValidationIssue]:
    """All semantic issues of a definition, in the order of its nodes and tools."""
    graph = _partial_graph(data)
    yield from _start(graph)
    yield from _pre_call_fetch(graph)
    yield from _template(graph.prompt, graph)
    yield from _sizes((), data, _MAX_ENTRIES)
    for name in graph.malformed_nodes:
        yield from name_issues(("nodes", name), name)
    for node in graph.nodes_by_name.values():
        written = mapping_or_empty(mapping_or_empty(data["nodes"])[node.name])
        yield from _sizes(node.location, written, _MAX_NODE_ENTRIES)
        yield from _node(node, graph)
    yield from _unreachable(graph)
    for name in graph.malformed_tools:
        yield from name_issues(("tools", name), name)
    regexes = RegexLimits()
    for name, tool in graph.tools.items():
        yield from tool_issues(name, tool, graph.servers, graph.suggestions, regexes, lenient_templates=graph.lenient)
    yield from webhook_issues(data.get("webhook"))
    if SECRETS_VARIABLE in mapping_or_empty(data.get("context")):
        message = "is the name under which tools find credentials; rename the variable"
        yield ValidationIssue(path=format_path(("context", SECRETS_VARIABLE)), message=message)


def _node(node: _PartialNode, graph: _PartialGraph) -> Iterator[ValidationIssue]:
    yield from name_issues(node.location, node.name)
    yield from _missing_instructions(node, graph)
    for field in (node.prompt, node.greeting, node.extract_prompt, *node.hints):
        yield from _template(field, graph)
    yield from _node_tools(node, graph)
    yield from _extractions(node, graph)
    if node.end and any(transition.to.text is not None for transition in node.transitions):
        path = format_path((*node.location, "transitions"))
        yield ValidationIssue(path=path, message="an end node has no transitions: remove them, or remove `end: true`")
    yield from _transition_names(node, graph)
    for transition in node.transitions:
        yield from _template(transition.say, graph)
        if transition.to.text is not None and transition.to.text not in graph.node_names:
            yield transition.to.issue(graph.unknown_node(transition.to.text))


def _sizes(location: Location, part: Mapping[str, object], most: Mapping[str, int]) -> Iterator[ValidationIssue]:
    for field, limit in most.items():
        entries = part.get(field)
        if isinstance(entries, list | dict) and len(entries) > limit:
            message = f"has {len(entries)} entries, at most {limit} are allowed"
            yield ValidationIssue(path=format_path((*location, field)), message=message)


def _pre_call_fetch(graph: _PartialGraph) -> Iterator[ValidationIssue]:
    """Issues of the tool called before the greeting: an HTTP tool, without an approval, as nobody is there yet."""
    name = graph.pre_call_fetch.text
    if name is None or name in graph.malformed_tools:
        return
    tool = graph.tools.get(name)
    if tool is None:
        yield graph.pre_call_fetch.issue(
            f"no tool {format_value(name)}" + graph.suggestions.about(name, graph.tool_names)
        )
    elif tool.get("kind") != "http" or tool.get("approval") is not None:
        yield graph.pre_call_fetch.issue(f"{format_value(name)} must be a tool of kind http without an approval")


def _start(graph: _PartialGraph) -> Iterator[ValidationIssue]:
    start = graph.start.text
    if start is not None and graph.node_names and start not in graph.node_names:
        yield graph.start.issue(graph.unknown_node(start))


def _missing_instructions(node: _PartialNode, graph: _PartialGraph) -> Iterator[ValidationIssue]:
    """An issue if a node has neither a prompt nor a greeting, so that the model has no instructions."""
    texts = [node.prompt, node.greeting, *([graph.prompt] if node.use_global_prompt else [])]
    if all(field.text is not None and not field.text.strip() for field in texts):
        yield node.prompt.issue("is empty, and there is neither a greeting nor a prompt of the agent; write a prompt")


def _template(field: _TextField, graph: _PartialGraph) -> Iterator[ValidationIssue]:
    for message in templates.syntax_errors(field.text or "") if not graph.lenient else ():
        yield field.issue(message)
    for name in secret_references(field.text or ""):
        yield field.issue(f"only tools may use credentials: remove {{{{{SECRETS_VARIABLE}.{name or 'NAME'}}}}}")


def _node_tools(node: _PartialNode, graph: _PartialGraph) -> Iterator[ValidationIssue]:
    seen = set()
    for tool in node.tools:
        if tool.text is None:
            continue
        if tool.text not in graph.tool_names:
            yield tool.issue(
                f"no tool {format_value(tool.text)}" + graph.suggestions.about(tool.text, graph.tool_names)
            )
        elif tool.text in seen:
            yield tool.issue(f"the node names the tool {format_value(tool.text)} twice")
        seen.add(tool.text)


def _extractions(node: _PartialNode, graph: _PartialGraph) -> Iterator[ValidationIssue]:
    seen = set()
    for variable in node.extract:
        if variable.text is None or not variable.text.strip():
            continue
        if not graph.lenient and (malformed := name_issues(variable.location, variable.text)):
            yield from malformed
        elif variable.text in seen:
            yield variable.issue(f"the node extracts {format_value(variable.text)} twice")
        seen.add(variable.text)


def _transition_names(node: _PartialNode, graph: _PartialGraph) -> Iterator[ValidationIssue]:
    """Issues of names that the model could not distinguish."""
    tools = {tool.text for tool in node.tools}
    names = [
        (transition.name, transition_tool_name(transition.name.text))
        for transition in node.transitions
        if transition.name.text is not None
    ]
    counts = Counter(called for _, called in names)
    for field, called in names:
        if counts[called] > 1:
            message = (
                f"{counts[called]} transitions of this node reach the model as {format_value(called)}; rename them"
            )
            yield field.issue(message)
        if called in tools:
            yield field.issue(f"the node has a tool called {format_value(called)} as well; rename one of them")
        server = called.partition(MCP_SEPARATOR)[0]
        if called != server and server in tools and server in graph.servers:
            yield field.issue(
                f"reaches the model as {format_value(called)}, as a tool of the MCP server {format_value(server)} would"
            )


def _unreachable(graph: _PartialGraph) -> Iterator[ValidationIssue]:
    some_not_read = len(graph.node_names) > len(graph.nodes_by_name)
    if graph.start.text not in graph.nodes_by_name or some_not_read:
        return
    transitions = {
        name: [transition.to.text for transition in node.transitions] for name, node in graph.nodes_by_name.items()
    }
    known = {name: [to for to in targets if to is not None] for name, targets in transitions.items()}
    reached = reachable_nodes(graph.start.text or "", known)
    if any(to is None or to not in graph.nodes_by_name for name in reached for to in transitions[name]):
        return  # the invalid transition may be meant to lead to an unreachable node
    for name, node in graph.nodes_by_name.items():
        if name not in reached:
            message = f"no path of transitions leads here from the start {format_value(graph.start.text)}"
            yield ValidationIssue(path=format_path(node.location), message=message)


def _partial_graph(data: Mapping[str, object]) -> _PartialGraph:
    nodes = mapping_or_empty(data.get("nodes"))
    tools = mapping_or_empty(data.get("tools"))
    first_nodes = dict(islice(nodes.items(), _MAX_ENTRIES["nodes"]))
    first_tools = dict(islice(tools.items(), _MAX_ENTRIES["tools"]))
    nodes_by_name = {name: _partial_node(name, node) for name, node in first_nodes.items() if isinstance(node, dict)}
    readable_tools = {name: tool for name, tool in first_tools.items() if isinstance(tool, dict)}
    return _PartialGraph(
        start=_text_field((), data, "start"),
        lenient=data.get("lenient_templates") is True,
        pre_call_fetch=_text_field((), data, "pre_call_fetch"),
        prompt=_text_field((), data, "prompt", default=""),
        nodes_by_name=nodes_by_name,
        malformed_nodes=tuple(name for name in first_nodes if name not in nodes_by_name),
        tools=readable_tools,
        node_names=nodes.keys(),
        tool_names=tools.keys(),
        malformed_tools=[name for name in first_tools if name not in readable_tools],
        servers=[name for name, tool in readable_tools.items() if tool.get("kind") == "mcp"],
        suggestions=NameSuggestions(),
    )


def _partial_node(name: str, node: Mapping[str, object]) -> _PartialNode:
    location = ("nodes", name)
    transitions = node.get("transitions", [])
    # Transitions that are not a list are replaced by one with an unknown target.
    transitions = _parts((*location, "transitions"), transitions if isinstance(transitions, list) else [{}])
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
            for index, tool in enumerate(list_or_empty(node.get("tools"))[: _MAX_NODE_ENTRIES["tools"]])
        ),
        extract=tuple(_text_field(at, part, "name") for at, part in extract),
        extract_prompt=_text_field(location, node, "extract_prompt", default=""),
        hints=tuple(_text_field(at, part, "hint", default="") for at, part in extract),
        transitions=tuple(
            _PartialTransition(
                name=_text_field(at, part, "name"), to=_text_field(at, part, "to"), say=_text_field(at, part, "say")
            )
            for at, part in transitions
        ),
    )


def _text_field(location: Location, part: Mapping[str, object], field: str, default: str | None = None) -> _TextField:
    value = part.get(field, default)
    return _TextField((*location, field), value if isinstance(value, str) else None)


def _parts(location: Location, value: object) -> list[tuple[Location, Mapping[str, object]]]:
    return [
        ((*location, index), mapping_or_empty(part)) for index, part in enumerate(list_or_empty(value)[:_MAX_PARTS])
    ]
