"""Agents: one stored version, and its definition with nodes, tools and limits."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from playhead_client.models.response_model import Money, ResponseModel


class Extraction(ResponseModel):
    """A variable that a node learns from the conversation."""

    name: str
    type: Literal["string", "number", "boolean"] = "string"
    hint: str = ""


class Transition(ResponseModel):
    """A way out of a node: taken when `when` holds; the agent says `say` and continues at node `to`."""

    name: str
    when: str
    to: str
    say: str | None = None


class Origin(ResponseModel):
    """Id and name of a node in the export that its agent was imported from."""

    id: str
    name: str
    allow_interrupt: bool = False


class Node(ResponseModel):
    """A state of the conversation.

    `greeting` is said word for word on arrival. `end` ends the session after the node has replied. The prompt of the
    agent precedes that of the node unless `use_global_prompt` is false.
    """

    prompt: str = ""
    greeting: str | None = None
    end: bool = False
    tools: tuple[str, ...] = ()
    extract: tuple[Extraction, ...] = ()
    transitions: tuple[Transition, ...] = ()
    use_global_prompt: bool = True
    origin: Origin | None = None
    extract_prompt: str = ""


class ToolApproval(ResponseModel):
    """A person must approve calls of the tool. Without a decision within `timeout_seconds` the call is not made."""

    timeout_seconds: int = 3600
    reason: str = ""


class HttpTool(ResponseModel):
    """A web service that nodes may offer to the model; `parameters` is a JSON schema of type object."""

    kind: Literal["http"]
    description: str
    parameters: dict[str, JsonValue] = {"type": "object", "properties": {}}
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: str
    headers: dict[str, str] = {}
    timeout_seconds: float = 10.0
    retries: int = 2
    retry_pause_seconds: float = 1.0
    max_response_bytes: int = 65_536
    assign: dict[str, str] = {}
    approval: ToolApproval | None = None
    secrets: tuple[str, ...] = ()
    body: JsonValue | None = None


class McpTool(ResponseModel):
    """A server that speaks the Model Context Protocol; `allow` names the tools to offer, all when it is empty."""

    kind: Literal["mcp"]
    url: str
    headers: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    timeout_seconds: float = 30.0
    retries: int = 2
    retry_pause_seconds: float = 1.0
    approval: ToolApproval | None = None


class BuiltinTool(ResponseModel):
    """A tool that Playhead carries out itself. `reason` describes the reason that the model must give."""

    kind: Literal["builtin"]
    action: Literal["end_session", "hand_over", "calculate", "current_time"]
    description: str = ""
    reason: str | None = None
    to: str | None = None
    say: str | None = None
    approval: ToolApproval | None = None


class ClientTool(ResponseModel):
    """A tool that the client carries out; `parameters` is a JSON schema of type object."""

    kind: Literal["client"]
    description: str
    parameters: dict[str, JsonValue] = {"type": "object", "properties": {}}
    timeout_seconds: int = 300
    approval: ToolApproval | None = None


class DocumentFile(ResponseModel):
    """A file by the name it has beside its agent, and the SHA-256 of its content."""

    name: str
    sha256: str | None = None


class DocumentsTool(ResponseModel):
    """A tool that searches files; the model gets the passages that match its query best."""

    kind: Literal["documents"]
    files: tuple[DocumentFile, ...]
    description: str = ""
    language: Literal["english", "other"] = "english"
    passages: int = 5
    retries: int = 2
    retry_pause_seconds: float = 1.0
    approval: ToolApproval | None = None


Tool = Annotated[HttpTool | McpTool | BuiltinTool | ClientTool | DocumentsTool, Field(discriminator="kind")]


class Limits(ResponseModel):
    """Limits of a session: seconds without a message, turns, US dollars, model calls per turn, seconds in total."""

    inactivity_seconds: int = 3600
    max_turns: int = 500
    max_cost_usd: Money | None = None
    max_steps_per_turn: int = 10
    deadline_seconds: int | None = None


class Webhook(ResponseModel):
    """Reports of `events` go to `url`, signed with the credential named by `secret`."""

    url: str
    secret: str
    events: tuple[Literal["session_completed"], ...] = ("session_completed",)


class Compaction(ResponseModel):
    """Summaries take the place of the turns that a long conversation leaves out. `prompt` says what they must keep."""

    model: str | None = None
    prompt: str = ""


class AgentDefinition(ResponseModel):
    """The definition of an agent: its start node, its nodes, and everything they share.

    `context` holds the template variables with their defaults. `model` is null for the default of the installation.
    """

    name: str
    model: str | None = None
    prompt: str = ""
    start: str
    nodes: dict[str, Node]
    tools: dict[str, Tool] = {}
    context: dict[str, JsonValue] = {}
    limits: Limits = Limits()
    pre_call_fetch: str | None = None
    webhook: Webhook | None = None
    lenient_templates: bool = False
    history: Literal["refuse", "accept"] = "refuse"
    max_context_tokens: int | None = None
    compaction: Compaction | None = None


class Agent(ResponseModel):
    """One version of an agent. `warnings` name parts that work but deserve a look."""

    id: str
    name: str
    version: int
    workflow_id: int
    definition: AgentDefinition
    warnings: tuple[str, ...]
    created_at: datetime


class AgentVersionSummary(ResponseModel):
    """One version of an agent in the list of its versions: `warnings` counts those of the definition."""

    version: int
    created_at: datetime
    node_count: int
    warnings: int


class AgentDryRun(ResponseModel):
    """The outcome of storing a definition, which was not stored.

    `version` is the version that it would become; when nothing `changed`, the newest one, which equals it.
    """

    name: str
    version: int
    changed: bool
    warnings: tuple[str, ...]
    definition: AgentDefinition
