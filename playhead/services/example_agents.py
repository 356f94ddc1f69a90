"""The example agents that come with Playhead."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from api.schemas.agent_files import read_agent
from domain.agents.definition import AgentDefinition, warnings_for
from store.agents import AgentStore
from store.api_keys import KeyStore
from store.database.connection import Database


async def add_missing_examples(database: Database, organization_id: str) -> list[str]:
    """Add the examples whose names an organization does not use yet; returns the names of all examples.

    An existing agent is never changed, even if it differs: somebody may have edited it.
    """
    await KeyStore(database).ensure_organization(organization_id, organization_id)
    agents = AgentStore(database)
    names = []
    for definition in example_agents():
        names.append(definition.name)
        if await agents.find(organization_id, definition.name) is None:
            await agents.add_version(organization_id, definition, warnings_for(definition))
    return names


def example_agents() -> Iterator[AgentDefinition]:
    """The definitions of all examples, in the order of their file names."""
    for file in sorted(_folder().iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            yield read_agent(file.read_bytes(), "yaml")


def _folder() -> Traversable:
    """The folder of the examples: in the installed package, or in the checkout."""
    try:
        return files("playhead.examples") / "agents"
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "examples" / "agents"
