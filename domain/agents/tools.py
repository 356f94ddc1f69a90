"""The tools of an agent as people write them, and the names under which the model is offered them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

MCP_SEPARATOR = "__"
"""Stands between the name of an MCP server in the agent and that of a tool on it."""
MAX_TOOL_NAME_CHARACTERS = 64
"""Characters of a function name that every model provider accepts."""
DAY_SECONDS = 86_400

_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]")


class AuthoredModel(BaseModel):
    """A part of an agent as a person writes it. Definitions are kept for good: new fields need a default."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def nonblank(longest: int) -> StringConstraints:
    """Text that says something: not blank, and at most this many characters."""
    return StringConstraints(pattern=r"\S", max_length=longest)


UrlTemplate = Annotated[str, nonblank(2_000)]
TimeoutSeconds = Annotated[float, Field(strict=True, gt=0, le=300)]
RetryPauseSeconds = Annotated[float, Field(strict=True, gt=0, le=60)]
Retries = Annotated[int, Field(strict=True, ge=0, le=10)]


class Approval(AuthoredModel):
    """A call that a person has to allow first. Without an answer within `timeout_seconds` it is not made.

    `reason` tells that person what the call is about; it is a template over the session's variables.
    """

    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=30 * DAY_SECONDS)] = 3600
    reason: Annotated[str, Field(max_length=2_000)] = ""


class HttpTool(AuthoredModel):
    """A web service that nodes may offer to the model; `parameters` is a JSON schema of type object.

    `url`, `headers` and `body` are templates over the session's variables, the arguments of the call, and the
    credentials that `secrets` names, as `{{secrets.NAME}}`. Without a `body`, POST, PUT and PATCH send the
    arguments as JSON; GET and DELETE send those that the address does not name as query parameters.

    `retries` counts the attempts after the first; the pause before them starts at `retry_pause_seconds` and
    doubles. `assign` says which context variables take which part of a JSON answer (a dotted path, "" for all).
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
    approval: Approval | None = None
    secrets: tuple[str, ...] = ()
    body: JsonValue | None = None


class McpTool(AuthoredModel):
    """A server that speaks the Model Context Protocol over streamable HTTP; its tools reach the model as its own.

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
    approval: Approval | None = None


Tool = Annotated[HttpTool | McpTool, Field(discriminator="kind")]


@dataclass(frozen=True)
class OfferedTool:
    """A tool as the model sees it; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, JsonValue]


def find_tool(tools: Mapping[str, HttpTool | McpTool], called: str) -> str | None:
    """The name in the agent of the tool that the model called, or None when there is none.

    What an MCP server offers is known to the server alone: for a name with its prefix it is the one to ask.
    """
    if isinstance(tools.get(called), HttpTool):
        return called
    server, separator, tool = called.partition(MCP_SEPARATOR)
    return server if separator and tool and isinstance(tools.get(server), McpTool) else None


def mcp_tool_name(server: str, tool: str) -> str:
    """The name under which the model is offered a tool of an MCP server.

    Characters that providers refuse become underscores, and a name that is too long ends in a digest of itself.
    """
    name = f"{server}{MCP_SEPARATOR}{_UNUSUAL.sub('_', tool)}"
    if len(name) <= MAX_TOOL_NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(tool.encode(errors="replace")).hexdigest()[:8]
    return f"{name[: MAX_TOOL_NAME_CHARACTERS - 9]}_{digest}"
