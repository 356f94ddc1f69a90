"""An API process whose disk is full: it is not ready, rejects commands, and recovers when there is room again."""

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.e2e.processes import until_seen
from tests.e2e.services import forked_playhead, forked_service
from tests.support.ports import free_port

if TYPE_CHECKING:
    from temporalio.testing import WorkflowEnvironment

AGENT = {"name": "echo", "start": "only", "nodes": {"only": {"greeting": "Hello.", "prompt": "Talk."}}}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the files of another process")


def test_api_whose_disk_is_full_is_not_ready(tmp_path: Path, temporal_server: "WorkflowEnvironment") -> None:
    """A limit on file size fails writes as a full disk or a quota does; other figures of the disk look healthy."""
    address = temporal_server.client.service_client.config.target_host
    port = free_port()
    environment = {"TEMPORAL_ADDRESS": address, "PLAYHEAD_API_PORT": str(port)}
    assert forked_playhead(tmp_path, "db", "upgrade").returncode == 0
    key = forked_playhead(tmp_path, "keys", "create", "tests").stdout.strip()
    with (
        forked_service(tmp_path, "api", **environment) as api,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http,
    ):
        http.headers["Authorization"] = f"Bearer {key}"

        def readiness() -> httpx2.Response | None:
            try:
                return http.get("/readyz")
            except httpx2.TransportError:
                return None

        def answers(status: int) -> bool:
            answer = readiness()
            return answer is not None and answer.status_code == status

        until_seen(lambda: answers(200), lambda: api.log)
        _, hard = resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, (0, hard))
        until_seen(lambda: answers(503), lambda: "it stayed ready on a full disk")
        refused = http.get("/readyz").json()
        assert (refused["code"], refused["service"]) == ("unavailable", "store")
        assert "disk may be full" in refused["detail"]
        assert str(tmp_path) not in refused["detail"]
        assert http.post("/v1/agents", json=AGENT).status_code == 503
        assert http.get("/healthz").status_code == 200

        resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        until_seen(lambda: answers(200), lambda: api.log)
        assert http.post("/v1/agents", json=AGENT).status_code == 201
