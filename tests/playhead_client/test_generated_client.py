"""The generated blocking client is up to date with the async one."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate_sync_client.py"


def test_the_blocking_client_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate_sync_client", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stale = [path.name for path in script.outdated()]
    assert not stale, f"run scripts/generate_sync_client.py: {stale} differ from the async client"
