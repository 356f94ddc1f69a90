"""The rules an agent's graph must keep, checked on what was written even where parts of it are malformed.

The rules read a sketch: every name and text that can be read, None for what cannot. So a malformed node hides
no fault of another one, and nothing is reported twice: what has the wrong form is left to the form check.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from domain.agents import templates
from domain.agents.names import SECRETS, name_faults
from domain.agents.tool_validation import secret_uses, tool_faults
from domain.agents.tools import MCP_SEPARATOR
from domain.agents.validation_errors import Hints, Location, ValidationIssue, place_of, shown
from domain.agents.webhook import webhook_faults

# Checked here and not by the form: pydantic looks no further into a collection that is too long.
_MOST = {"nodes": 200, "tools": 100, "context": 500}
_MAX_OF_A_NODE = {"tools": 50, "extract": 50, "transitions": 50}


@dataclass(frozen=True)
class _Word:
    """A text with its place; `text` is None where no text was written."""

    location: Location
    text: str | None

    def fault(self, message: str) -> ValidationIssue:
        return ValidationIssue(place=place_of(self.location), message=message)


@dataclass(frozen=True)
class _Arrow:
    name: _Word
    to: _Word
    say: _Word


@dataclass(frozen=True)
class _Stop:
    location: Location
    name: str
    prompt: _Word
    greeting: _Word
    end: bool
    use_global_prompt: bool
    tools: tuple[_Word, ...]
    extract: tuple[_Word, ...]
    arrows: tuple[_Arrow, ...]


@dataclass(frozen=True)
class _Sketch:
    start: _Word
    pre_call_fetch: _Word
    prompt: _Word
    stops: Mapping[str, _Stop]
    unreadable_nodes: tuple[str, ...]
    tools: Mapping[str, Mapping[str, object]]
    node_names: Collection[str]
    tool_names: Collection[str]
    hints: Hints

    @property
    def servers(self) -> Collection[str]:
        return [name for name, tool in self.tools.items() if tool.get("kind") == "mcp"]

    @property
    def unreadable_tools(self) -> Collection[str]:
        return [name for name in self.tool_names if name not in self.tools]

    def unknown_node(self, name: str) -> str:
        return f"no node {shown(name)}" + self.hints.about(name, self.node_names)


def tool_name(name: str) -> str:
    """A transition's name as a function's: lower case, with _ for every character but a-z, 0-9 and _."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name).lower()


def reachable(start: str, arrows: Mapping[str, Iterable[str]]) -> set[str]:
    """The nodes that can be reached from the start, itself included; unknown nodes are left out."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in arrows and name not in reached:
            reached.add(name)
            waiting.extend(arrows[name])
    return reached


def meaning_faults(data: Mapping[str, object]) -> list[ValidationIssue]:
    """Every fault of meaning in a written definition, in the order of its nodes and tools."""
    sketch = _sketch(data)
    faults = [*_start(sketch), *_pre_call_fetch(sketch), *_template(sketch.prompt), *_sizes((), data, _MOST)]
    for name in sketch.unreadable_nodes:
        faults += name_faults(("nodes", name), name)
    for stop in sketch.stops.values():
        faults += _sizes(stop.location, _mapping(_mapping(data["nodes"])[stop.name]), _MAX_OF_A_NODE)
        faults += _stop(stop, sketch)
    faults += _unreachable(sketch)
    for name in sketch.unreadable_tools:
        faults += name_faults(("tools", name), name)
    for name, tool in sketch.tools.items():
        faults += tool_faults(name, tool, sketch.servers, sketch.hints)
    faults += webhook_faults(data.get("webhook"))
    if SECRETS in _mapping(data.get("context")):
        message = "is the name under which tools find credentials; give the variable another name"
        faults.append(ValidationIssue(place=place_of(("context", SECRETS)), message=message))
    return faults


def _stop(stop: _Stop, sketch: _Sketch) -> Iterator[ValidationIssue]:
    yield from name_faults(stop.location, stop.name)
    yield from _silent(stop, sketch)
    yield from _template(stop.prompt)
    yield from _template(stop.greeting)
    yield from _node_tools(stop, sketch)
    yield from _extractions(stop)
    if stop.end and any(arrow.to.text is not None for arrow in stop.arrows):
        place = place_of((*stop.location, "transitions"))
        yield ValidationIssue(place=place, message="an end node has no transitions: remove them, or remove `end: true`")
    yield from _arrow_names(stop, sketch)
    for arrow in stop.arrows:
        yield from _template(arrow.say)
        if arrow.to.text is not None and arrow.to.text not in sketch.node_names:
            yield arrow.to.fault(sketch.unknown_node(arrow.to.text))


def _sizes(location: Location, part: Mapping[str, object], most: Mapping[str, int]) -> Iterator[ValidationIssue]:
    for field, limit in most.items():
        entries = part.get(field)
        if isinstance(entries, list | dict) and len(entries) > limit:
            message = f"has {len(entries)} entries, at most {limit} are allowed"
            yield ValidationIssue(place=place_of((*location, field)), message=message)


def _pre_call_fetch(sketch: _Sketch) -> Iterator[ValidationIssue]:
    """It is a web service of the agent, which nobody can be asked to allow: there is no conversation yet."""
    name = sketch.pre_call_fetch.text
    if name is None or name in sketch.unreadable_tools:
        return
    tool = sketch.tools.get(name)
    if tool is None:
        yield sketch.pre_call_fetch.fault(f"no tool {shown(name)}" + sketch.hints.about(name, sketch.tool_names))
    elif tool.get("kind") != "http" or tool.get("approval") is not None:
        yield sketch.pre_call_fetch.fault(f"{shown(name)} must be a tool of kind http without an approval")


def _start(sketch: _Sketch) -> Iterator[ValidationIssue]:
    start = sketch.start.text
    if start is not None and sketch.node_names and start not in sketch.node_names:
        yield sketch.start.fault(sketch.unknown_node(start))


def _silent(stop: _Stop, sketch: _Sketch) -> Iterator[ValidationIssue]:
    """The model cannot speak for a node that gives it nothing to go by."""
    texts = [stop.prompt, stop.greeting, *([sketch.prompt] if stop.use_global_prompt else [])]
    if all(word.text is not None and not word.text.strip() for word in texts):
        yield stop.prompt.fault("is empty, and no greeting and no prompt of the agent stands in for it")


def _template(word: _Word) -> Iterator[ValidationIssue]:
    for message in templates.check(word.text or ""):
        yield word.fault(message)
    for name in secret_uses(word.text or ""):
        yield word.fault(f"only tools may use credentials, so {{{{{SECRETS}.{name or 'NAME'}}}}} says nothing here")


def _node_tools(stop: _Stop, sketch: _Sketch) -> Iterator[ValidationIssue]:
    seen = set()
    for tool in stop.tools:
        if tool.text is None:
            continue
        if tool.text not in sketch.tool_names:
            yield tool.fault(f"no tool {shown(tool.text)}" + sketch.hints.about(tool.text, sketch.tool_names))
        elif tool.text in seen:
            yield tool.fault(f"the node names the tool {shown(tool.text)} twice")
        seen.add(tool.text)


def _extractions(stop: _Stop) -> Iterator[ValidationIssue]:
    seen = set()
    for variable in stop.extract:
        if variable.text is None or not variable.text.strip():
            continue
        if malformed := name_faults(variable.location, variable.text):
            yield from malformed
        elif variable.text in seen:
            yield variable.fault(f"the node extracts {shown(variable.text)} twice")
        seen.add(variable.text)


def _arrow_names(stop: _Stop, sketch: _Sketch) -> Iterator[ValidationIssue]:
    """The model tells transitions and tools apart by their names alone."""
    tools = {tool.text for tool in stop.tools}
    names = [(arrow.name, tool_name(arrow.name.text)) for arrow in stop.arrows if arrow.name.text is not None]
    counts = Counter(called for _, called in names)
    for word, called in names:
        if counts[called] > 1:
            message = f"{counts[called]} transitions of this node reach the model as {shown(called)}; rename them"
            yield word.fault(message)
        if called in tools:
            yield word.fault(f"the node has a tool called {shown(called)} as well; rename one of them")
        server = called.partition(MCP_SEPARATOR)[0]
        if called != server and server in tools and server in sketch.servers:
            yield word.fault(f"reaches the model as {shown(called)}, as a tool of the MCP server {shown(server)} would")


def _unreachable(sketch: _Sketch) -> Iterator[ValidationIssue]:
    if sketch.start.text not in sketch.stops or sketch.unreadable_nodes:
        return
    arrows = {name: [arrow.to.text for arrow in stop.arrows] for name, stop in sketch.stops.items()}
    known = {name: [to for to in targets if to is not None] for name, targets in arrows.items()}
    reached = reachable(sketch.start.text or "", known)
    if any(to is None or to not in sketch.stops for name in reached for to in arrows[name]):
        return  # an arrow that leads nowhere yet may be the one that was meant to lead here
    for name, stop in sketch.stops.items():
        if name not in reached:
            message = f"no path of transitions leads here from the start {shown(sketch.start.text)}"
            yield ValidationIssue(place=place_of(stop.location), message=message)


def _sketch(data: Mapping[str, object]) -> _Sketch:
    nodes = _mapping(data.get("nodes"))
    tools = _mapping(data.get("tools"))
    stops = {name: _stop_sketch(name, node) for name, node in nodes.items() if isinstance(node, dict)}
    return _Sketch(
        start=_word((), data, "start"),
        pre_call_fetch=_word((), data, "pre_call_fetch"),
        prompt=_word((), data, "prompt", default=""),
        stops=stops,
        unreadable_nodes=tuple(name for name in nodes if name not in stops),
        tools={name: tool for name, tool in tools.items() if isinstance(tool, dict)},
        node_names=nodes.keys(),
        tool_names=tools.keys(),
        hints=Hints(),
    )


def _stop_sketch(name: str, node: Mapping[str, object]) -> _Stop:
    location = ("nodes", name)
    transitions = node.get("transitions", [])
    # Where the transitions are no list, one that leads nobody knows where stands in for them.
    arrows = _parts((*location, "transitions"), transitions if isinstance(transitions, list) else [{}])
    extract = _parts((*location, "extract"), node.get("extract"))
    return _Stop(
        location=location,
        name=name,
        prompt=_word(location, node, "prompt", default=""),
        greeting=_word(location, {"greeting": node.get("greeting") or ""}, "greeting"),
        end=node.get("end") is True,
        use_global_prompt=node.get("use_global_prompt") is not False,
        tools=tuple(
            _Word((*location, "tools", index), tool if isinstance(tool, str) else None)
            for index, tool in enumerate(_list(node.get("tools")))
        ),
        extract=tuple(_word(at, part, "name") for at, part in extract),
        arrows=tuple(
            _Arrow(name=_word(at, part, "name"), to=_word(at, part, "to"), say=_word(at, part, "say"))
            for at, part in arrows
        ),
    )


def _word(location: Location, part: Mapping[str, object], field: str, default: str | None = None) -> _Word:
    value = part.get(field, default)
    return _Word((*location, field), value if isinstance(value, str) else None)


def _parts(location: Location, value: object) -> list[tuple[Location, Mapping[str, object]]]:
    return [((*location, index), _mapping(part)) for index, part in enumerate(_list(value))]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
