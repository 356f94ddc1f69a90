"""Imports of workflows, rules and the client: no service, no provider and no store."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OF_PYDANTIC = {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}
NEVER_IN_A_WORKFLOW = {
    "alembic", "api", "asyncpg", "fastapi", "genai_prices", "httpcore2", "httpx2", "jsonschema",
    "mcp", "openai", "playhead", "pydantic_ai",
    "pydantic_settings", "rich", "sqlalchemy", "starlette", "store", "streaming", "structlog",
    "typer", "uvicorn", "yaml",
}  # fmt: skip

LOADED = """
import importlib, json, sys
before = set(sys.modules)  # an editable install brings its finder
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def packages_loaded_by(*modules: str) -> set[str]:
    """The top-level packages that a fresh interpreter loads for these modules."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", LOADED, *modules]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded: list[str] = json.loads(done.stdout)
    assert set(modules) <= set(loaded)
    # The name of the interpreter's own build data differs by platform.
    return {name.partition(".")[0] for name in loaded if not name.startswith("_sysconfigdata")}


def modules_of(package: str) -> list[str]:
    paths = (path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py") if path.stem != "__init__")
    return sorted(".".join(path.with_suffix("").parts) for path in paths)


def test_rules_load_nothing_but_the_standard_library_and_pydantic() -> None:
    foreign = (
        packages_loaded_by(*modules_of("domain"), *modules_of("contracts"))
        - sys.stdlib_module_names
        - OF_PYDANTIC
        - {"contracts", "domain"}
    )
    assert not foreign, f"domain/ or contracts/ loads {sorted(foreign)}: pass in what a rule needs to know instead"


@pytest.mark.parametrize("module", [*modules_of("workflows"), "activities.tools"])
def test_workflow_module_loads_no_vendor_and_no_other_side_of_the_house(module: str) -> None:
    heavy = packages_loaded_by(module) & NEVER_IN_A_WORKFLOW
    assert not heavy, (
        f"{module} loads {sorted(heavy)}. A workflow decides, and what it imports must be able to do nothing else. "
        "Import it under TYPE_CHECKING, or in the activity."
    )


def test_the_client_loads_no_service() -> None:
    services = {
        "activities",
        "alembic",
        "fastapi",
        "openai",
        "pydantic_ai",
        "sqlalchemy",
        "starlette",
        "store",
        "temporalio",
    }
    heavy = packages_loaded_by("playhead_client") & services
    assert not heavy, f"programs that only talk to an API would pay for {sorted(heavy)}"
