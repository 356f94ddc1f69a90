"""Jinja2 environment of the HTML report. Autoescape is on: values are text unless they are Markup."""

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def format_coordinate(number: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


ENVIRONMENT: Final = Environment(
    loader=PackageLoader("api.reports"), autoescape=True, trim_blocks=True, undefined=StrictUndefined
)
ENVIRONMENT.filters["coordinate"] = format_coordinate


def resource(name: str) -> Markup:
    """A file of the templates folder, to be inserted unchanged."""
    loader = ENVIRONMENT.loader
    assert loader is not None
    source, _, _ = loader.get_source(ENVIRONMENT, name)
    return Markup(source)  # a file of this package


def chart(macro: str, *values: object) -> Markup:
    """A chart as inline SVG, rendered by a macro of the chart templates."""
    rendered: Markup = getattr(ENVIRONMENT.get_template("charts.svg.jinja").module, macro)(*values)
    return rendered
