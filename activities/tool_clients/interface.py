"""The interface of tool clients: one call, its result, and its failure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from contracts.tools import CallToolResult, ToolError
from domain.agents.tool_mocks import ToolMock
from domain.agents.tools import HttpTool, McpTool


@dataclass(frozen=True)
class ToolCall:
    """One call as its runner gets it: `name` is the tool's in the agent, `called` what the model called.

    With `mocks` it is answered from them.
    """

    organization_id: str
    name: str
    called: str
    tool: HttpTool | McpTool
    arguments: Mapping[str, JsonValue]
    context: Mapping[str, JsonValue]
    idempotency_key: str
    mocks: tuple[ToolMock, ...] = ()


class ToolRunner(Protocol):
    """The edge to the services: one attempt at a call."""

    async def run(self, call: ToolCall) -> CallToolResult:
        """Make the call. Raises `ToolFailed`."""
        ...


class ToolFailed(Exception):
    """One attempt brought nothing. The message is for the model and holds no credential.

    `retryable` says that the same call may succeed later, `retry_after` (seconds) when the service wants it.
    """

    def __init__(
        self,
        code: ToolError,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after

    @property
    def result(self) -> CallToolResult:
        """The failure as the model is told it."""
        return CallToolResult(content=f"Error ({self.code}): {self}", error=self.code, status=self.status)
