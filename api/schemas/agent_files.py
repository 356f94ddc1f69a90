"""Parsing of agents from YAML or JSON, with the location of every error."""

from api.schemas.structured_text import TextFormat, parse_text
from domain.agents.definition import AgentDefinition, parse_definition
from domain.dograh.importer import ImportedAgent, import_dograh


def read_agent(text: bytes, format: TextFormat) -> AgentDefinition:
    """Parse an agent definition. Raises InvalidAgent with its errors.

    Text that is not valid YAML or JSON gives one error, whose location is a line and a column.
    """
    return parse_definition(parse_text(text, format))


def read_export(text: bytes, format: TextFormat, name: str | None) -> ImportedAgent:
    """Parse a dograh workflow export as an agent, by default with the name in the file.

    Raises InvalidAgent as `read_agent` does.
    """
    return import_dograh(parse_text(text, format), name=name)
