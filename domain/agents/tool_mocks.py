"""Answers that stand in for an agent's tools while its callers are simulated: nothing goes out."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field, JsonValue

from domain.agents.tools import AuthoredModel, nonblank


class ToolMock(AuthoredModel):
    """What a tool answers when it is called with at least these arguments; the first mock that matches counts.

    `result` is what the service would have answered, and what the tool assigns is read from it. With `error` the
    call fails, and the model is told so.
    """

    tool: Annotated[str, nonblank(64)]
    arguments: dict[str, JsonValue] = {}
    result: JsonValue = None
    error: Annotated[str, Field(max_length=2_000)] | None = None


def mocks_for_tool(mocks: Iterable[ToolMock], called: str) -> tuple[ToolMock, ...]:
    """The mocks of one tool, under the name that the model calls."""
    return tuple(mock for mock in mocks if mock.tool == called)


def find_mock(mocks: Iterable[ToolMock], arguments: Mapping[str, JsonValue]) -> ToolMock | None:
    """The first mock for a call with these arguments."""
    return next((mock for mock in mocks if includes(arguments, mock.arguments)), None)


def includes(whole: JsonValue | Mapping[str, JsonValue], part: JsonValue | Mapping[str, JsonValue]) -> bool:
    """Whether a value has everything that another one asks for: of a mapping some entries, of all else everything.

    1 and 1.0 are the same number, true and 1 are not the same value.
    """
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            name in whole and includes(whole[name], wanted) for name, wanted in part.items()
        )
    if isinstance(part, list):
        return (
            isinstance(whole, list)
            and len(whole) == len(part)
            and all(includes(each, wanted) for each, wanted in zip(whole, part, strict=True))
        )
    return isinstance(whole, bool) == isinstance(part, bool) and whole == part
