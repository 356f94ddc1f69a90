"""The console for people: colours and tables of the rich library, around printable text only."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from playhead.output.plain_text import printable, terminal_stream


class PlainConsole(Console):
    """A console whose texts are printable, whoever wrote them. Its own colours and cursor movements are kept."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:  # Any: options of the library
        super().__init__(file=terminal_stream(sys.stderr if stderr else sys.stdout), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of an object, with printable text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
