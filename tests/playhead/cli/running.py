"""Running a command as a person does, and reading what it printed."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from playhead.cli.main import app


def playhead(*arguments: str, typed: str | None = None) -> Result:
    """What a command prints, and its exit status; `typed` is its standard input."""
    return CliRunner().invoke(app, [*arguments], input=typed)


def printed(result: Result) -> Any:
    """What a command printed for programs."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
