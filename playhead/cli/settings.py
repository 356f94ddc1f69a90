"""Tables of all settings: with their current values for people, and as Markdown for the documentation."""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from playhead.cli.services import settings_of_environment
from playhead.config.renamed import former_variable_in
from playhead.config.settings import INTERNAL, Settings, documentation_of, setting_warnings, variable_of
from playhead.config.variables import COMMAND_LINE_VARIABLES
from playhead.output.tables import console, note, print_json

HIDDEN = "(set; not shown)"


@dataclass(frozen=True)
class Row:
    """One setting, each column as text."""

    variable: str
    default: str
    expects: str
    means: str
    value: str
    is_set: bool


def show(*, as_markdown: bool, as_json: bool) -> None:
    """Print the table; as Markdown it is the same on every machine. Raises CommandFailed for invalid settings."""
    if as_markdown:
        sys.stdout.write(markdown())
        return
    listed = list(rows(settings_of_environment()))
    if as_json:
        print_json([asdict(row) for row in listed])
    else:
        _print(listed)
    for warning in setting_warnings():
        note(f"warning: {warning}")


def rows(settings: Settings | None) -> Iterator[Row]:
    """Each setting that the environment can set, with its value if `settings` are given."""
    for name, field in Settings.model_fields.items():
        if name in INTERNAL:
            continue
        known = documentation_of(field)
        variable = variable_of(name)
        is_set = bool(os.environ.get(variable) or former_variable_in(os.environ, name))
        value = "" if settings is None else _text(getattr(settings, name))
        yield Row(
            variable=variable,
            default=known["shown"] or _text(_default_of(field)),
            expects=known["expects"],
            means=field.description or "",
            value=HIDDEN if known["secret"] and is_set else value,
            is_set=is_set,
        )


def markdown() -> str:
    """The documentation of all variables that Playhead itself reads."""
    lines = ["| variable | default | expects | meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{row.variable}` | {_code(row.default)} | {_cell(row.expects)} | {_cell(row.means)} |" for row in rows(None)
    ]
    lines += ["", "The command line's remote commands read:", "", "| variable | meaning |", "| --- | --- |"]
    lines += [f"| `{variable}` | {_cell(means)} |" for variable, means in COMMAND_LINE_VARIABLES.items()]
    return "\n".join(lines) + "\n"


def _print(listed: list[Row]) -> None:
    from rich.markup import escape

    out = console()
    for row in listed:
        out.print(
            f"[bold]{row.variable}[/] = {escape(row.value) or 'none'}{'' if row.is_set else ' [dim](default)[/]'}"
        )
        out.print(f"  [dim]{escape(row.means)} Expects {escape(row.expects)}.[/]")


def _default_of(field: FieldInfo) -> object:
    return None if field.default is PydanticUndefined else field.default


def _text(value: object) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, dict):
        return ", ".join(sorted(value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    plain = text and " " not in text and "`" not in text
    return f"`{text}`" if plain else _cell(text)
