"""Worker and API as separate processes: they start in any order, and report missing dependencies."""

from pathlib import Path

import httpx2
import pytest

from playhead.exit_codes import USAGE
from tests.e2e.processes import needs_proc, until_gone, until_seen
from tests.e2e.services import forked_playhead, forked_service, service
from tests.support.ports import free_port


@pytest.mark.parametrize("command", ["worker", "api"])
def test_a_store_that_is_not_migrated_is_refused(tmp_path: Path, command: str) -> None:
    ended = forked_playhead(tmp_path, command, PLAYHEAD_API_PORT=str(free_port()))
    assert ended.returncode == USAGE, ended.stderr
    assert "playhead: The store's schema is not up to date" in ended.stderr
    assert "Run `playhead db upgrade`" in ended.stderr


def test_an_api_without_keys_does_not_serve(tmp_path: Path) -> None:
    assert forked_playhead(tmp_path, "db", "upgrade").returncode == 0
    ended = forked_playhead(tmp_path, "api", PLAYHEAD_API_PORT=str(free_port()), PLAYHEAD_KEYLESS="true")
    assert ended.returncode == USAGE, ended.stderr
    assert "playhead: There is no valid API key, so no client could call this API." in ended.stderr
    assert "PLAYHEAD_KEYLESS is not a setting and is ignored" in ended.stderr


@needs_proc
def test_worker_and_api_wait_for_temporal_and_go_on_when_it_is_there(tmp_path: Path) -> None:
    temporal_port, api_port = free_port(), free_port()
    address = {"TEMPORAL_ADDRESS": f"127.0.0.1:{temporal_port}", "PLAYHEAD_API_PORT": str(api_port)}
    assert forked_playhead(tmp_path, "db", "upgrade").returncode == 0
    key = forked_playhead(tmp_path, "keys", "create", "tests").stdout.strip()
    with (
        service(tmp_path, "worker", **address) as worker,
        service(tmp_path, "api", **address) as api,
        httpx2.Client(base_url=f"http://127.0.0.1:{api_port}", trust_env=False, timeout=60) as http,
    ):
        http.headers["Authorization"] = f"Bearer {key}"
        worker.until_logged("Temporal cannot be reached yet")
        api.until_logged("Temporal cannot be reached yet")
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 503

        ports = [f"--temporal-port={temporal_port}", f"--temporal-ui-port={free_port()}"]
        with service(tmp_path, "temporal", *ports) as temporal:
            until_seen(lambda: http.get("/readyz").status_code == 200, lambda: api.log)
            worker.until_logged("worker polling for tasks")
            agent = {"name": "echo", "start": "only", "nodes": {"only": {"greeting": "Hello.", "prompt": "Talk."}}}
            assert http.post("/v1/agents", json=agent).status_code == 201
            session = http.post("/v1/sessions", json={"agent": "echo"})
            assert session.status_code == 201, session.text

            assert api.terminate() == 0, api.log
            assert worker.terminate() == 0, worker.log
            assert temporal.terminate() == 0, temporal.log
            until_gone(tmp_path)


def test_a_worker_that_waits_for_temporal_ends_on_sigterm(tmp_path: Path) -> None:
    assert forked_playhead(tmp_path, "db", "upgrade").returncode == 0
    with forked_service(tmp_path, "worker", TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}") as worker:
        worker.until_logged("Temporal cannot be reached yet")
        assert worker.terminate() == 0, worker.log
