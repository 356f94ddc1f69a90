"""Parts of an export that run in dograh but are errors in agent definitions: they are kept, with a warning for each."""

from collections.abc import Iterator
from typing import Final

from domain.agents import templates
from domain.agents.names import name_issues
from domain.agents.validation_errors import Location, format_path, format_value, list_or_empty
from domain.dograh.export_format import GLOBAL_TYPE, Export, ExportedNode

MAX_USUAL_PROMPT_CHARACTERS: Final = 50_000
MAX_USUAL_HINT_CHARACTERS: Final = 2_000
"""Characters above which a text is kept with a warning: some model providers reject longer ones."""

_TEMPLATES: Final = ("prompt", "greeting")


def irregular_parts(export: Export) -> Iterator[str]:
    """A warning for every text in double braces that names no variable, and for every name of an unusual form."""
    for node in export.nodes:
        if node.converses or node.type == GLOBAL_TYPE:
            for location, text in _node_templates(node):
                yield from _unrendered(location, text)
            yield from _names(node)
    for edge in export.edges:
        speech = edge.data.get("transition_speech")
        if edge.converses and isinstance(speech, str):
            yield from _unrendered(edge.at("transition_speech"), speech)


def long_texts(export: Export) -> Iterator[str]:
    """A warning for every text that is longer than some model providers accept."""
    for node in export.nodes:
        if node.converses or node.type == GLOBAL_TYPE:
            yield from _length(node.at("prompt"), node.data.get("prompt"), MAX_USUAL_PROMPT_CHARACTERS)
        for location, text in _extraction_templates(node):
            yield from _length(location, text, MAX_USUAL_HINT_CHARACTERS)
    for edge in export.edges:
        if edge.converses:
            yield from _length(edge.at("condition"), edge.data.get("condition"), MAX_USUAL_HINT_CHARACTERS)


def _node_templates(node: ExportedNode) -> Iterator[tuple[Location, str]]:
    for field in _TEMPLATES if node.converses else ("prompt",):
        text = node.data.get(field)
        if isinstance(text, str):
            yield node.at(field), text
    yield from _extraction_templates(node)


def _extraction_templates(node: ExportedNode) -> Iterator[tuple[Location, str]]:
    if not node.converses or node.data.get("extraction_enabled") is not True:
        return
    if not node.data.get("extraction_variables"):
        return
    prompt = node.data.get("extraction_prompt")
    if isinstance(prompt, str):
        yield node.at("extraction_prompt"), prompt
    for index, variable in enumerate(list_or_empty(node.data.get("extraction_variables"))):
        hint = variable.get("prompt") if isinstance(variable, dict) else None
        if isinstance(hint, str):
            yield node.at("extraction_variables", index, "prompt"), hint


def _names(node: ExportedNode) -> Iterator[str]:
    if not node.converses or node.data.get("extraction_enabled") is not True:
        return
    for index, variable in enumerate(list_or_empty(node.data.get("extraction_variables"))):
        name = variable.get("name") if isinstance(variable, dict) else None
        if isinstance(name, str) and name.strip() and name_issues((), name):
            path = format_path(node.at("extraction_variables", index, "name"))
            yield (
                f"{path}: {format_value(name)} is extracted under this name, but agent definitions allow letters, "
                f"digits, _ and - only, and templates may not be able to contain it; rename it to use it in a prompt"
            )


def _unrendered(location: Location, text: str) -> Iterator[str]:
    for message in templates.syntax_errors(text):
        yield f"{format_path(location)}: {message}; it stays as it is written"


def _length(location: Location, text: object, usual: int) -> Iterator[str]:
    if isinstance(text, str) and len(text) > usual:
        yield (
            f"{format_path(location)}: has {len(text):,} characters; some model providers reject more than {usual:,} "
            f"here"
        )
