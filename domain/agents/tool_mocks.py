"""Mocks of tools for simulated conversations: no request is sent."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field, JsonValue

from domain.agents.tools import AuthoredModel, nonblank


class ToolMock(AuthoredModel):
    """The result of a tool for calls with at least these arguments; the first matching mock applies.

    `result` replaces the response of the service, and the tool's assignments are read from it. With `error` the call
    fails, and the model receives the error.
    """

    tool: Annotated[str, nonblank(64)]
    arguments: dict[str, JsonValue] = {}
    result: JsonValue = None
    error: Annotated[str, Field(max_length=2_000)] | None = None


def mocks_for_tool(mocks: Iterable[ToolMock], called: str) -> tuple[ToolMock, ...]:
    """The mocks of one tool, by the name that the model calls."""
    return tuple(mock for mock in mocks if mock.tool == called)


def find_mock(mocks: Iterable[ToolMock], arguments: Mapping[str, JsonValue]) -> ToolMock | None:
    """The first mock that matches these arguments."""
    return next((mock for mock in mocks if includes(arguments, mock.arguments)), None)


def includes(whole: JsonValue | Mapping[str, JsonValue], part: JsonValue | Mapping[str, JsonValue]) -> bool:
    """True if `whole` contains `part`: the entries of mappings, recursively; other values must be equal.

    1 and 1.0 are equal; true and 1 are not.
    """
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            name in whole and includes(whole[name], expected) for name, expected in part.items()
        )
    if isinstance(part, list):
        return (
            isinstance(whole, list)
            and len(whole) == len(part)
            and all(includes(each, expected) for each, expected in zip(whole, part, strict=True))
        )
    return isinstance(whole, bool) == isinstance(part, bool) and whole == part
