"""Parsing of agents from YAML or JSON, with the location of every error."""

from typing import Final

from api.schemas.structured_text import TextFormat, parse_text
from domain.agents.definition import AgentDefinition, InvalidAgent, ValidationIssue, parse_definition
from domain.agents.validation_errors import ROOT_PATH
from domain.dograh.export_format import is_export
from domain.dograh.importer import ImportedAgent, import_dograh

EXPORT_HINT: Final = "this is a workflow export of dograh; read it with --format dograh, or ?format=dograh in the API"


def read_agent(text: bytes, format: TextFormat) -> AgentDefinition:
    """Parse an agent definition. Raises InvalidAgent with its errors.

    Text that is not valid YAML or JSON gives one error, whose location is a line and a column. So does a workflow
    export of dograh, which is read with another format.
    """
    data = parse_text(text, format)
    if is_export(data):
        raise InvalidAgent([ValidationIssue(path=ROOT_PATH, message=EXPORT_HINT)])
    return parse_definition(data)


def read_export(text: bytes, format: TextFormat, name: str | None) -> ImportedAgent:
    """Parse a dograh workflow export as an agent, by default with the name in the file.

    Raises InvalidAgent as `read_agent` does.
    """
    return import_dograh(parse_text(text, format), name=name)
