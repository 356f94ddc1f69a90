"""Tools of an agent: their models, and the names under which they are offered to the model."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from domain.agents.document_files import FileReference

MCP_SEPARATOR = "__"
"""Separator between the name of an MCP server and that of its tool."""
MAX_TOOL_NAME_CHARACTERS = 64
"""Maximum characters of a function name that every model provider accepts."""
DAY_SECONDS = 86_400

_UNSUPPORTED_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")


class AuthoredModel(BaseModel):
    """Base model of parts of definition files. Definitions are stored permanently: new fields need a default."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def nonblank(max_characters: int) -> StringConstraints:
    """Constraints of text that is not blank, with at most this many characters."""
    return StringConstraints(pattern=r"\S", max_length=max_characters)


UrlTemplate = Annotated[str, nonblank(2_000)]
TimeoutSeconds = Annotated[float, Field(strict=True, gt=0, le=300)]
RetryPauseSeconds = Annotated[float, Field(strict=True, gt=0, le=60)]
Retries = Annotated[int, Field(strict=True, ge=0, le=10)]


class ApprovalRule(AuthoredModel):
    """A call that a person must approve first. Without a decision within `timeout_seconds` it is not made.

    `reason` explains the call to that person; it is a template with the session's variables.
    """

    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=30 * DAY_SECONDS)] = 3600
    reason: Annotated[str, Field(max_length=2_000)] = ""


class HttpTool(AuthoredModel):
    """An HTTP tool that nodes can offer to the model; `parameters` is a JSON schema of type object.

    `url`, `headers` and `body` are templates over the session's variables, the arguments of the call, and the
    credentials that `secrets` names, as `{{secrets.NAME}}`. Without a `body`, POST, PUT and PATCH send the
    arguments as JSON; GET and DELETE send those not used in the URL as query parameters.

    `retries` counts the attempts after the first; the pause before them starts at `retry_pause_seconds` and
    doubles. `assign` maps context variables to parts of a JSON response (a dotted path, "" for all of it).
    """

    kind: Literal["http"]
    description: Annotated[str, nonblank(2_000)]
    parameters: dict[str, JsonValue] = {"type": "object", "properties": {}}
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: UrlTemplate
    headers: dict[str, str] = {}
    timeout_seconds: TimeoutSeconds = 10.0
    retries: Retries = 2
    retry_pause_seconds: RetryPauseSeconds = 1.0
    max_response_bytes: Annotated[int, Field(strict=True, ge=1, le=1_048_576)] = 65_536
    assign: dict[str, str] = {}
    approval: ApprovalRule | None = None
    secrets: tuple[str, ...] = ()
    body: JsonValue | None = None


class McpTool(AuthoredModel):
    """A server of the Model Context Protocol over streamable HTTP, whose tools are offered to the model.

    The tool `find` of the server `crm` is offered as `crm__find`. `allow` names the tools to offer, all when it
    is empty. `url` and `headers` are templates as those of an HTTP tool, without the arguments.
    """

    kind: Literal["mcp"]
    url: UrlTemplate
    headers: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    allow: tuple[Annotated[str, nonblank(128)], ...] = ()
    timeout_seconds: TimeoutSeconds = 30.0
    retries: Retries = 2
    retry_pause_seconds: RetryPauseSeconds = 1.0
    approval: ApprovalRule | None = None


BuiltinAction = Literal["end_session", "hand_over", "calculate", "current_time"]
ENDING_ACTIONS: frozenset[BuiltinAction] = frozenset({"end_session", "hand_over"})
"""Actions that end the session after their turn."""


class BuiltinTool(AuthoredModel):
    """A tool that Playhead carries out itself, without a request to anybody.

    `end_session` ends the session, `hand_over` ends it for somebody else to go on at `to`, `calculate` evaluates
    arithmetic, and `current_time` shows the time and weekday in a time zone. The two that end the session say `say` to
    the user; with `reason`, which describes it to the model, the model must give a reason. `to`, `say` and the
    approval's reason are templates. `description` replaces the usual description for the model.
    """

    kind: Literal["builtin"]
    action: BuiltinAction
    description: Annotated[str, Field(max_length=2_000)] = ""
    reason: Annotated[str, nonblank(2_000)] | None = None
    to: Annotated[str, nonblank(2_000)] | None = None
    say: Annotated[str, Field(max_length=10_000)] | None = None
    approval: ApprovalRule | None = None

    @property
    def ends_the_session(self) -> bool:
        """True if the session ends after a call."""
        return self.action in ENDING_ACTIONS


class ClientTool(AuthoredModel):
    """A tool that the client of a conversation carries out; `parameters` is a JSON schema of type object.

    The model is offered the tool when the client of the message is able to carry it out. Without a result within
    `timeout_seconds` the model receives an error.
    """

    kind: Literal["client"]
    description: Annotated[str, nonblank(2_000)]
    parameters: dict[str, JsonValue] = {"type": "object", "properties": {}}
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=30 * DAY_SECONDS)] = 300
    approval: ApprovalRule | None = None


DocumentLanguage = Literal["english", "other"]


class DocumentsTool(AuthoredModel):
    """A tool that searches documents: the model gets the passages that match its query best, with their source.

    `files` lie beside the agent, or were uploaded. `language` english finds other forms of a word too; other compares
    words as they are. `passages` is the maximum number in a result. `description` replaces the usual description for
    the model.
    """

    kind: Literal["documents"]
    files: Annotated[tuple[FileReference, ...], Field(min_length=1)]
    description: Annotated[str, Field(max_length=2_000)] = ""
    language: DocumentLanguage = "english"
    passages: Annotated[int, Field(strict=True, ge=1, le=10)] = 5
    retries: Retries = 2
    retry_pause_seconds: RetryPauseSeconds = 1.0
    approval: ApprovalRule | None = None


AnyTool = HttpTool | McpTool | BuiltinTool | ClientTool | DocumentsTool
Tool = Annotated[AnyTool, Field(discriminator="kind")]


@dataclass(frozen=True)
class OfferedTool:
    """A tool as the model sees it; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, JsonValue]


def find_tool(tools: Mapping[str, AnyTool], called: str) -> str | None:
    """The name in the agent of the tool that the model called; None if there is none.

    For a name with the prefix of an MCP server it is the server: only the server knows its tools.
    """
    named = tools.get(called)
    if named is not None and not isinstance(named, McpTool):
        return called
    server, separator, tool = called.partition(MCP_SEPARATOR)
    return server if separator and tool and isinstance(tools.get(server), McpTool) else None


def mcp_tool_name(server: str, tool: str) -> str:
    """The name under which a tool of an MCP server is offered to the model.

    Characters that providers reject become underscores; a name that is too long is cut off and ends in a digest.
    """
    name = f"{server}{MCP_SEPARATOR}{_UNSUPPORTED_CHARACTER.sub('_', tool)}"
    if len(name) <= MAX_TOOL_NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(tool.encode(errors="replace")).hexdigest()[:8]
    return f"{name[: MAX_TOOL_NAME_CHARACTERS - 9]}_{digest}"
