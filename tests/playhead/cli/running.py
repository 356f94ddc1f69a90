"""Runs commands and reads their output."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from playhead.cli.main import app


def playhead(*arguments: str, typed: str | None = None) -> Result:
    """Run a command; returns its output and exit status. `typed` is its standard input."""
    return CliRunner().invoke(app, [*arguments], input=typed)


def printed(result: Result) -> Any:
    """The JSON output of a command."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
