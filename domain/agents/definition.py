"""Agent definitions: the model of the graph, its validation, warnings, and its Mermaid flowchart."""

from collections.abc import Collection, Iterable
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue

from domain.agents import templates
from domain.agents.document_files import DocumentFile
from domain.agents.graph_validation import reachable_nodes, semantic_issues, transition_tool_name
from domain.agents.tools import (
    DAY_SECONDS,
    AnyTool,
    ApprovalRule,
    AuthoredModel,
    BuiltinTool,
    ClientTool,
    DocumentsTool,
    HttpTool,
    McpTool,
    Tool,
    nonblank,
)
from domain.agents.validation_errors import InvalidDefinition, Location, ValidationIssue, validate_definition
from domain.agents.webhook import Webhook

__all__ = [
    "AgentDefinition",
    "ApprovalRule",
    "BuiltinTool",
    "ClientTool",
    "Compaction",
    "DocumentsTool",
    "Extraction",
    "HttpTool",
    "InvalidAgent",
    "Limits",
    "McpTool",
    "Node",
    "Origin",
    "Tool",
    "Transition",
    "ValidationIssue",
    "VariableType",
    "Webhook",
    "mermaid",
    "parse_definition",
    "warnings_for",
]

SYSTEM_MESSAGE = "system_message"
"""The template variable that holds the system messages of OpenAI clients."""
VariableType = Literal["string", "number", "boolean"]

RECORDING_MARK = "RECORDING_ID:"
"""Beginning of a reference to recorded speech in a text."""
MAX_PROMPT_CHARACTERS = 500_000
MAX_SPEECH_CHARACTERS = 10_000
MAX_HINT_CHARACTERS = 50_000
TOOL_TYPES: dict[str, type[AnyTool]] = {
    "http": HttpTool,
    "mcp": McpTool,
    "builtin": BuiltinTool,
    "client": ClientTool,
    "documents": DocumentsTool,
}

Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
Speech = Annotated[str, Field(max_length=MAX_SPEECH_CHARACTERS)]
StrictBool = Annotated[bool, Field(strict=True)]


class Extraction(AuthoredModel):
    """A variable that a node extracts from the conversation. `hint` is a template that tells the model about it."""

    name: Annotated[str, nonblank(200)]
    type: VariableType = "string"
    hint: Annotated[str, Field(max_length=MAX_HINT_CHARACTERS)] = ""


class Transition(AuthoredModel):
    """A transition to the node `to`, taken if `when` applies; the agent says `say` first."""

    name: Annotated[str, nonblank(64)]
    when: Annotated[str, nonblank(MAX_HINT_CHARACTERS)]
    to: str
    say: Speech | None = None

    @property
    def tool_name(self) -> str:
        """The name under which the transition is offered to the model."""
        return transition_tool_name(self.name)


class Compaction(AuthoredModel):
    """Summaries of the turns that a long conversation leaves out, written in the background.

    `model` None means the model of the session. `prompt` says what the agent must remember.
    """

    model: Annotated[str, nonblank(200)] | None = None
    prompt: Prompt = ""


class Origin(AuthoredModel):
    """Id and name of a node in the export from which its agent was imported; clients of that product use them.

    `allow_interrupt` is shown to them as it was; it concerns speech and has no effect.
    """

    id: Annotated[str, nonblank(MAX_PROMPT_CHARACTERS)]
    name: Annotated[str, nonblank(MAX_PROMPT_CHARACTERS)]
    allow_interrupt: StrictBool = False


class Node(AuthoredModel):
    """A node of the conversation graph.

    `greeting` is said verbatim on arrival. `end` ends the session after the reply at the node. The agent's prompt comes
    before the node's own unless `use_global_prompt` is false. `extract_prompt` instructs the extraction of all
    variables of the node. `origin` is set by an import.
    """

    prompt: Prompt = ""
    greeting: Speech | None = None
    end: StrictBool = False
    tools: tuple[str, ...] = ()
    extract: tuple[Extraction, ...] = ()
    transitions: tuple[Transition, ...] = ()
    use_global_prompt: StrictBool = True
    origin: Origin | None = None
    extract_prompt: Prompt = ""

    @property
    def keeps_reply_format(self) -> bool:
        """True if a client may set the reply format: without tools and transitions it is one reply of the model."""
        return not (self.tools or self.transitions)


class Limits(AuthoredModel):
    """Limits of a session: seconds without a message, turns, US dollars, model calls per turn.

    `deadline_seconds` is the maximum duration of a session.
    """

    inactivity_seconds: Annotated[int, Field(strict=True, ge=5, le=30 * DAY_SECONDS)] = 3600
    max_turns: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 500
    max_cost_usd: Annotated[Decimal, Field(gt=0, le=1_000_000)] | None = None
    max_steps_per_turn: Annotated[int, Field(strict=True, ge=1, le=100)] = 10
    deadline_seconds: Annotated[int, Field(strict=True, ge=5, le=365 * DAY_SECONDS)] | None = None


class AgentDefinition(AuthoredModel):
    """An agent: its start node, its nodes, and their common settings.

    `prompt` comes before every node's prompt, `context` contains the template variables with their defaults, and
    `model` None means the installation's default. `pre_call_fetch` names a tool of kind http that is called once,
    before the greeting; its response extends the initial context. `webhook` receives reports of completed sessions.

    With `lenient_templates`, which imports set, text in double braces that names no variable stays as it is written,
    and extracted variables may have names that templates cannot contain. Otherwise both are errors.

    With `history: accept` a chat client whose history no session has gets a session that begins with it.

    `max_context_tokens` are the tokens of a request to the model, with instructions and tools: the oldest turns beyond
    them are left out. None is the installation's limit. With `compaction` a summary takes their place.
    """

    name: Annotated[str, nonblank(200)]
    model: Annotated[str, nonblank(200)] | None = None
    prompt: Prompt = ""
    start: str
    nodes: Annotated[dict[str, Node], Field(min_length=1)]
    tools: dict[str, Tool] = {}
    context: dict[str, JsonValue] = {}
    limits: Limits = Limits()
    pre_call_fetch: str | None = None
    webhook: Webhook | None = None
    lenient_templates: StrictBool = False
    history: Literal["refuse", "accept"] = "refuse"
    max_context_tokens: Annotated[int, Field(strict=True, ge=1_000, le=10_000_000)] | None = None
    compaction: Compaction | None = None

    @cached_property
    def shows_the_time(self) -> bool:
        """True if a template may show the current time or weekday: only then is it part of the input of every step."""
        text = self.model_dump_json()
        return "current_time" in text or "current_weekday" in text

    @cached_property
    def uses_system_message(self) -> bool:
        """True if a template shows the system messages of OpenAI clients: only then do new ones reach the session."""
        return SYSTEM_MESSAGE in self.model_dump_json()

    @cached_property
    def has_recordings(self) -> bool:
        """True if a text refers to recorded speech: only then are the model's replies searched for references."""
        return RECORDING_MARK in self.model_dump_json()

    @property
    def documents(self) -> tuple[DocumentFile, ...]:
        """The files that its tools search, each combination of name and content once."""
        tools = (tool for tool in self.tools.values() if isinstance(tool, DocumentsTool))
        return tuple(dict.fromkeys(file for tool in tools for file in tool.files))

    def origin_of(self, node_id: str) -> Origin:
        """Id and name of a node in its export, or its own id for both if it was not imported."""
        node = self.nodes.get(node_id)
        return node.origin if node and node.origin else Origin(id=node_id, name=node_id)


class InvalidAgent(InvalidDefinition):
    """An agent definition with validation issues (at least one)."""

    subject = "agent definition"


def parse_definition(data: object) -> AgentDefinition:
    """Validate parsed YAML or JSON as an agent definition.

    Raises InvalidAgent with every issue: of the schema (types, lengths, unknown fields) and of its rules (unknown
    names, unreachable nodes, invalid templates).
    """
    return validate_definition(
        data,
        AgentDefinition,
        InvalidAgent,
        known_fields=_known_fields,
        source_location=_source_location,
        semantic_issues=semantic_issues,
    )


def warnings_for(definition: AgentDefinition) -> tuple[str, ...]:
    """Warnings about a valid definition, as sentences with their paths."""
    return (
        *_unset_variables(definition),
        *_missing_end(definition),
        *_open_credentials(definition),
        *_open_report(definition),
    )


def mermaid(definition: AgentDefinition) -> str:
    """A Mermaid flowchart of a valid definition, with a rounded start node and end nodes in double circles."""
    ids = {name: f"n{number}" for number, name in enumerate(definition.nodes)}
    lines = ["flowchart TD"]
    for name, node in definition.nodes.items():
        shape = "((({})))" if node.end else "([{}])" if name == definition.start else "[{}]"
        lines.append(f"    {ids[name]}{shape.format(_label(name))}")
    for name, node in definition.nodes.items():
        for transition in node.transitions:
            lines.append(f"    {ids[name]} -->|{_label(transition.name)}| {ids[transition.to]}")
    return "\n".join(lines) + "\n"


def _known_fields(location: Location) -> Collection[str]:
    models: dict[Location, type[BaseModel]] = {
        (): AgentDefinition,
        ("limits",): Limits,
        ("webhook",): Webhook,
        ("compaction",): Compaction,
        ("nodes",): Node,
        ("nodes", "transitions"): Transition,
        ("nodes", "extract"): Extraction,
        ("nodes", "origin"): Origin,
        **{("tools", kind): tool for kind, tool in TOOL_TYPES.items()},
        **{("tools", kind, "approval"): ApprovalRule for kind in TOOL_TYPES},
        ("tools", "documents", "files"): DocumentFile,
    }
    within_tool = location[:1] == ("tools",)
    # Without the names of nodes and tools, and without list indices.
    of_tool = (*location[:1], *(part for part in location[2:] if not isinstance(part, int)))
    model = models.get(of_tool if within_tool else location[::2])
    return model.model_fields if model else ()


def _source_location(location: Location) -> Location:
    """The location without the kind of the tool, which pydantic appends to the name of the tool."""
    if location[:1] == ("tools",) and location[2:3] and location[2] in TOOL_TYPES:
        return (*location[:2], *location[3:])
    return location


def _unset_variables(definition: AgentDefinition) -> Iterable[str]:
    for name, node in definition.nodes.items():
        for variable in templates.variables(node.greeting or ""):
            default = templates.lookup(definition.context, tuple(variable.name.split(".")))
            if not variable.has_fallback and default in (None, ""):
                yield (
                    f"nodes.{name}.greeting: {variable.name} has no default in context and no fallback, so "
                    f"sessions without it have a gap in the text; write {{{{{variable.name} | something else}}}}"
                )


def _missing_end(definition: AgentDefinition) -> Iterable[str]:
    targets = {name: [each.to for each in node.transitions] for name, node in definition.nodes.items()}
    reached = reachable_nodes(definition.start, targets)
    if not any(definition.nodes[name].end or _can_end(definition, definition.nodes[name]) for name in reached):
        yield (
            "nodes: no node with `end: true` and no tool that ends the session can be reached, so the agent never "
            "ends a session by itself; sessions continue until somebody ends them or a limit is reached"
        )


def _can_end(definition: AgentDefinition, node: Node) -> bool:
    tools = (definition.tools.get(name) for name in node.tools)
    return any(isinstance(tool, BuiltinTool) and tool.ends_the_session for tool in tools)


def _open_credentials(definition: AgentDefinition) -> Iterable[str]:
    for name, tool in definition.tools.items():
        if isinstance(tool, HttpTool | McpTool) and tool.secrets and tool.url.lower().startswith("http://"):
            yield (
                f"tools.{name}.url: sends credentials over http://, where anyone on the network path can read them; "
                "use https:// unless the service is on this machine"
            )


def _open_report(definition: AgentDefinition) -> Iterable[str]:
    if definition.webhook and definition.webhook.url.lower().startswith("http://"):
        yield (
            "webhook.url: sends the transcript over http://, where anyone on the network can read it; use https:// "
            "unless the receiver is on this machine"
        )


def _label(text: str) -> str:
    """Quoted text for Mermaid; special characters become entity codes."""
    codes = {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "`": "#96;"}
    return '"' + "".join(codes.get(character, character) for character in " ".join(text.split())) + '"'
