"""A client of event streams for the API tests, which can read slowly."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.running_api import Caller

Json = dict[str, Any]  # Any: what another program wrote


@dataclass(frozen=True)
class Event:
    """One event as received."""

    type: str
    data: Json
    id: int | None


class Stream:
    """The events of a stream, parsed from its lines. `comments` are the comments received so far."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.comments: list[str] = []

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments.append(line.removeprefix(":").strip())
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                number = fields.get("id")
                return Event(fields["event"], json.loads(fields["data"]), int(number) if number else None)
        raise StopAsyncIteration

    async def until(self, kind: str) -> list[Event]:
        """The events up to and including the next of this type."""
        events = []
        async for event in self:
            events.append(event)
            if event.type == kind:
                return events
        raise AssertionError(f"the stream ended without {kind}, after {[event.type for event in events]}")

    async def rest(self) -> list[Event]:
        """The events up to the end of the stream."""
        return [event async for event in self]


@asynccontextmanager
async def watching(caller: Caller, session_id: str, *, after: int | None = None) -> AsyncIterator[Stream]:
    """The stream of a session, from a snapshot or after an event."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with caller.http.stream("GET", f"/v1/sessions/{session_id}/events", headers=headers) as response:
        if response.status_code != 200:
            await response.aread()
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response.aiter_lines())


@asynccontextmanager
async def saying(caller: Caller, session_id: str, text: str, **fields: object) -> AsyncIterator[Stream]:
    """The stream of the turn that a message opens."""
    headers = {"Accept": "text/event-stream"}
    path, body = f"/v1/sessions/{session_id}/messages", {"text": text, **fields}
    async with caller.http.stream("POST", path, json=body, headers=headers) as response:
        if response.status_code != 200:
            await response.aread()
        assert response.status_code == 200, response.text
        yield Stream(response.aiter_lines())


def types_of(events: list[Event]) -> list[str]:
    """The types of events, in order."""
    return [event.type for event in events]


def streamed_text(events: list[Event]) -> str:
    """The text of a client that applies deltas and resets as they come."""
    text = ""
    for event in events:
        if event.type == "reply_delta":
            text += event.data["text"]
        elif event.type == "reply_reset":
            text = event.data["text"]
    return text
