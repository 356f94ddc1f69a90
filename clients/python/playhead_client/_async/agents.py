"""Agents: calls of the async client."""

from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from typing import Literal

from pydantic import JsonValue

from playhead_client._async.documents import AsyncDocuments
from playhead_client._async.transport import AsyncResource
from playhead_client.calls import Call, Listing, document, get, given, nothing, path_of
from playhead_client.models.agents import Agent, AgentDryRun, AgentVersionSummary

AGENTS = path_of("agents")


class AsyncAgents(AsyncResource):
    """Agents: store, list and read them."""

    async def push(
        self,
        definition: Mapping[str, JsonValue] | str | bytes,
        *,
        written: Literal["json", "yaml"] = "yaml",
        format: Literal["playhead", "dograh"] = "playhead",
        name: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Agent:
        """Store a definition as the newest version of its agent: an object, or text that is `written` as YAML or JSON.

        A definition equal to the newest version adds none. With `format="dograh"` it is a workflow export, and `name`
        is the name of the agent it becomes. `files` are uploaded first, for documents tools that name them; files that
        are not given must have been uploaded.
        """
        documents = AsyncDocuments(self._transport)
        for file, text in (files or {}).items():
            await documents.upload(file, text)
        content, headers = document(definition, written)
        query = given(format=format if format != "playhead" else None, name=name, document=_references(files))
        return await self._transport.send(
            Call("POST", AGENTS, Agent.model_validate_json, query, content, headers, repeatable=True)
        )

    async def check(
        self,
        definition: Mapping[str, JsonValue] | str | bytes,
        *,
        written: Literal["json", "yaml"] = "yaml",
        format: Literal["playhead", "dograh"] = "playhead",
        name: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> AgentDryRun:
        """Check a definition as `push` would, and store nothing. Raises InvalidAgentDefinition with every error.

        `files` are not read: they count as uploaded.
        """
        content, headers = document(definition, written)
        query = given(
            format=format if format != "playhead" else None, name=name, dry_run="true", document=_references(files)
        )
        return await self._transport.send(
            Call("POST", AGENTS, AgentDryRun.model_validate_json, query, content, headers, repeatable=True)
        )

    def versions(self, agent: str, *, limit: int | None = None) -> AsyncIterator[AgentVersionSummary]:
        """List the versions of an agent, newest first."""
        return self._transport.items(Listing(path_of("agents", agent, "versions"), AgentVersionSummary, limit=limit))

    def list(self, *, limit: int | None = None) -> AsyncIterator[Agent]:
        """List the newest version of every agent."""
        return self._transport.items(Listing(AGENTS, Agent, limit=limit))

    async def get(self, agent: str, version: int | None = None) -> Agent:
        """Return an agent by id or name: its newest version, or the given one."""
        path = path_of("agents", agent) if version is None else path_of("agents", agent, "versions", str(version))
        return await self._transport.send(get(path, Agent))

    async def written(self, agent: str, version: int | None = None) -> str:
        """Return the definition of an agent as YAML, which `push` takes."""
        path = path_of("agents", agent) if version is None else path_of("agents", agent, "versions", str(version))
        return await self._transport.send(Call("GET", path, bytes.decode, {"format": "yaml"}, repeatable=True))

    async def erase(self, agent: str) -> None:
        """Erase an agent with its versions, and the documents that no other agent searches.

        Raises AgentInUse while it has sessions or suites.
        """
        await self._transport.send(Call("DELETE", path_of("agents", agent), nothing, repeatable=True))


def _references(files: Mapping[str, bytes] | None) -> list[str] | None:
    """The files by digest and name, as the API takes them."""
    return [f"{sha256(text).hexdigest()}:{name}" for name, text in files.items()] if files else None
