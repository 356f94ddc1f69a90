"""Playhead over HTTP, with billing and recording. Its worker and its API are processes of their own.

This module is the client alone, and runs with the packages of Playhead's own lock file.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any
from uuid import uuid4

from benchmarks.peers.interface import INSTRUCTIONS, MESSAGE, TOOL, TOOL_DESCRIPTION, Peer, Settings
from benchmarks.sessions import Connection

DISTRIBUTIONS = ("playhead", "pydantic-ai-slim", "temporalio", "openai")


class PlayheadPeer:
    """Sessions, each with a connection of its own; those with a long past are forks of one source session."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._urls = cycle(settings.api_urls.split(","))
        self._agent_id = ""
        self._sessions: dict[str, str] = {}
        self._connections: dict[str, Connection] = {}
        self._source_turns = 0

    async def create_agent(self) -> None:
        """Store the agent that all sessions have."""
        agent = json.dumps(_agent(self._settings)).encode()
        self._agent_id = (await self._post("agent", "/v1/agents", agent))["id"]

    async def begin(self, conversation: str, past_turns: int) -> None:
        if past_turns > 1:
            source = await self._source(past_turns)
            forked = await self._post(conversation, f"/v1/sessions/{source}/fork", b"{}")
            self._sessions[conversation] = forked["id"]
        else:
            await self._create(conversation)
            for _ in range(past_turns):
                await self.say(conversation, MESSAGE, uuid4().hex)

    async def say(self, conversation: str, text: str, message_id: str) -> str:
        path = f"/v1/sessions/{self._sessions[conversation]}/messages"
        session = await self._post(conversation, path, json.dumps({"text": text, "message_id": message_id}).encode())
        return str(session["turns"][-1]["assistant_message"]["text"])

    async def repeat(self, conversation: str, text: str, message_id: str) -> str:
        """A message with the same id joins the turn that is under way."""
        return await self.say(conversation, text, message_id)

    async def _source(self, turns: int) -> str:
        """A session with so many turns; the same one grows for each longer past."""
        if not self._source_turns:
            await self._create("source")
        for _ in range(turns - self._source_turns):
            await self.say("source", MESSAGE, uuid4().hex)
        self._source_turns = turns
        return self._sessions["source"]

    async def _create(self, conversation: str) -> None:
        session = await self._post(conversation, "/v1/sessions", json.dumps({"agent": self._agent_id}).encode())
        self._sessions[conversation] = session["id"]

    async def _post(self, conversation: str, path: str, body: bytes) -> dict[str, Any]:
        connection = self._connections.pop(conversation, None)
        connection = connection or await Connection.open(next(self._urls), self._settings.api_key)
        answer = await connection.post(path, body)
        self._connections[conversation] = connection  # one that failed is not used again
        answered: dict[str, Any] = json.loads(answer)
        return answered


def _agent(settings: Settings) -> dict[str, Any]:
    tool = {
        "kind": "http",
        "description": TOOL_DESCRIPTION,
        "parameters": {"type": "object", "properties": {"thing": {"type": "string"}}, "required": ["thing"]},
        "method": "POST",
        "url": settings.tool_url,
    }
    talk = {"prompt": INSTRUCTIONS, "greeting": "Hello, how can I help?"}
    agent = {"name": "peer", "start": "talk", "nodes": {"talk": talk}, "limits": {"max_turns": 100_000}}
    if not settings.with_tool:
        return agent
    return {**agent, "nodes": {"talk": {**talk, "tools": [TOOL]}}, "tools": {TOOL: tool}}


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Peer]:
    """A client of running APIs."""
    peer = PlayheadPeer(settings)
    await peer.create_agent()
    yield peer
