"""Timers of workflows have names: the Temporal UI shows an unnamed one as a number."""

import ast
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).parents[2] / "workflows"
NAMES = {"wait_condition": ("timeout", "timeout_summary"), "sleep": ("", "summary")}
"""Calls that start a timer: the argument with which they do (always, if empty), and the one that names it."""


@pytest.mark.parametrize(
    "file", sorted(WORKFLOWS.rglob("*.py")), ids=lambda file: file.relative_to(WORKFLOWS).as_posix()
)
def test_every_timer_has_a_name(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in NAMES):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "workflow"):
            continue
        starts, names = NAMES[node.func.attr]
        given = {keyword.arg for keyword in node.keywords}
        assert names in given or (starts and starts not in given), f"{file.name}, line {node.lineno}"
