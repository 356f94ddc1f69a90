"""The interface of tool clients: one call, its result, and its failure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from contracts.tools import CallToolResult, ToolError
from domain.agents.tool_mocks import ToolMock
from domain.agents.tools import AnyTool


@dataclass(frozen=True)
class ToolCall:
    """One tool call: `name` is the tool's name in the agent, `called` the name that the model called.

    If there are `mocks`, the call is answered from them.
    """

    organization_id: str
    name: str
    called: str
    tool: AnyTool
    arguments: Mapping[str, JsonValue]
    context: Mapping[str, JsonValue]
    idempotency_key: str
    mocks: tuple[ToolMock, ...] = ()


class ToolRunner(Protocol):
    """Makes single attempts at tool calls."""

    async def run(self, call: ToolCall) -> CallToolResult:
        """Make the call. Raises `ToolFailed`."""
        ...


class ToolFailed(Exception):
    """A failed attempt at a tool call. The message is for the model and holds no credential.

    `retryable` means that the same call may succeed later, after `retry_after` seconds if the service gave a time.
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
        """The failure as a tool result for the model."""
        return CallToolResult(content=f"Error ({self.code}): {self}", error=self.code, status=self.status)
