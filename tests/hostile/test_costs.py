"""The cost of hostile requests to real API and worker processes: at most 64 MB and two seconds of processor time."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from store.database.connection import Database
from tests.api.reports.test_report_size import suite_with_runs
from tests.e2e.processes import until_seen
from tests.e2e.services import Service, forked_playhead, forked_service
from tests.hostile.inputs import MEBIBYTE, hostile_documents, hostile_inputs, large_agents, regex_agent
from tests.support.api_agents import library
from tests.support.ports import free_port
from tests.support.postgres import running_postgres
from tests.support.provider import TextReply, ToolCallReply, model_provider

if TYPE_CHECKING:
    from temporalio.testing import WorkflowEnvironment

MAX_BYTES = 64 * MEBIBYTE
MAX_SECONDS = 2.0
MAX_ANSWER_BYTES = 100_000
MAX_YAML_BYTES = 4 * MEBIBYTE
MAX_REPORT_BYTES = 12 * MEBIBYTE
ORGANIZATION = "org_tests"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="costs are read from /proc")


class Meter:
    """The costs of a process since the meter was made: processor seconds, and growth of its peak memory."""

    def __init__(self, process: Service) -> None:
        self._folder = Path(f"/proc/{process.process.pid}")
        (self._folder / "clear_refs").write_text("5")  # resets the peak
        self._seconds, self._bytes = self._used(), self._memory("VmRSS")

    def seconds(self) -> float:
        return self._used() - self._seconds

    def bytes(self) -> int:
        return self._memory("VmHWM") - self._bytes

    def _used(self) -> float:
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


BEFORE_THE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For costs that do not depend on the store: one database is enough."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/playhead.db"
        return
    with running_postgres() as server:
        yield server.new_database()


@contextmanager
def running(
    folder: Path, temporal: str, database_url: str, **variables: str
) -> Iterator[tuple[Service, Service, httpx2.Client]]:
    """An API process, a worker process and a client with a key."""
    port, store = free_port(), {"PLAYHEAD_DATABASE_URL": database_url}
    environment = {"TEMPORAL_ADDRESS": temporal, "PLAYHEAD_API_PORT": str(port), **store, **variables}
    environment["PLAYHEAD_TASK_QUEUE"] = f"hostile-{port}"
    assert forked_playhead(folder, "db", "upgrade", **store).returncode == 0
    key = forked_playhead(folder, "keys", "create", "tests", "--organization", ORGANIZATION, **store).stdout.strip()
    with (
        forked_service(folder, "worker", **environment) as worker,
        forked_service(folder, "api", **environment) as api,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http,
    ):
        http.headers["Authorization"] = f"Bearer {key}"
        worker.until_logged("worker polling for tasks")
        until_seen(lambda: _is_ready(http), lambda: api.log)
        yield api, worker, http


def _is_ready(http: httpx2.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


@BEFORE_THE_STORE
def test_hostile_body_costs_the_api_little(
    tmp_path: Path, temporal_server: "WorkflowEnvironment", database_url: str
) -> None:
    address = temporal_server.client.service_client.config.target_host
    with running(tmp_path, address, database_url) as (api, _, http):
        http.post("/v1/agents", json={"name": "warm"})
        for hostile in [*hostile_inputs(), *hostile_documents()]:
            assert len(hostile.body) <= MEBIBYTE, hostile.name
            meter = Meter(api)
            answer = http.post(hostile.path, content=hostile.body, headers={"content-type": hostile.media_type})
            assert answer.status_code in (400, 413, 422), (hostile.name, answer.text[:500])
            assert len(answer.content) < MAX_ANSWER_BYTES, hostile.name
            assert meter.seconds() < MAX_SECONDS, (hostile.name, meter.seconds())
            assert meter.bytes() < MAX_BYTES, (hostile.name, meter.bytes() / MEBIBYTE)


def test_large_answers_cost_the_api_little(
    tmp_path: Path, temporal_server: "WorkflowEnvironment", database_url: str
) -> None:
    """Agents as YAML, and reports of a suite with more text than a report may contain."""
    address = temporal_server.client.service_client.config.target_host
    with running(tmp_path, address, database_url) as (api, _, http):
        http.post("/v1/agents", json=library("demo"))
        http.get("/v1/agents/library?format=yaml")
        for name, agent in large_agents():
            assert http.post("/v1/agents", json=agent).status_code in (200, 201), name
            meter = Meter(api)
            answer = http.get(f"/v1/agents/{agent['name']}?format=yaml")
            assert answer.status_code == 200, name
            assert len(answer.content) < MAX_YAML_BYTES, (name, len(answer.content))
            assert meter.seconds() < MAX_SECONDS, (name, meter.seconds())
            assert meter.bytes() < MAX_BYTES, (name, meter.bytes() / MEBIBYTE)
        suite_id = asyncio.run(_suite(database_url))
        for form in ("json", "junit", "html"):
            meter = Meter(api)
            answer = http.get(f"/v1/suites/{suite_id}/report?format={form}")
            assert answer.status_code == 200, form
            assert len(answer.content) < MAX_REPORT_BYTES, (form, len(answer.content))
            assert meter.seconds() < MAX_SECONDS, (form, meter.seconds())
            assert meter.bytes() < MAX_BYTES, (form, meter.bytes() / MEBIBYTE)


async def _suite(database_url: str) -> str:
    database = Database.open(database_url)
    try:
        return await suite_with_runs(database, ORGANIZATION)
    finally:
        await database.aclose()


@BEFORE_THE_STORE
async def test_many_patterns_cost_worker_and_api_little(
    tmp_path: Path, temporal_server: "WorkflowEnvironment", database_url: str
) -> None:
    address = temporal_server.client.service_client.config.target_host
    async with model_provider() as provider:
        model = provider.model("hostile")
        arguments = json.dumps({f"p{n}": "ab" * 500 for n in range(100)})
        model.script(TextReply("Warm."), ToolCallReply("look", arguments), TextReply("Done."))
        variables = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "none", "PLAYHEAD_MODEL": model.string}
        await asyncio.to_thread(_push_and_call, tmp_path, address, database_url, variables)


def _push_and_call(folder: Path, address: str, database_url: str, variables: dict[str, str]) -> None:
    with running(folder, address, database_url, **variables) as (api, worker, http):
        agent = regex_agent(1)
        assert http.post("/v1/agents", json=agent).status_code == 201
        session = http.post("/v1/sessions", json={"agent": agent["name"]}).json()
        assert http.post(f"/v1/sessions/{session['id']}/messages", json={"text": "Hi"}).status_code == 200

        meters = {"API": Meter(api), "worker": Meter(worker)}
        assert http.post("/v1/agents", json=regex_agent(100)).status_code == 201
        session = http.post("/v1/sessions", json={"agent": agent["name"]}).json()
        answer = http.post(f"/v1/sessions/{session['id']}/messages", json={"text": "Hi"})
        assert answer.status_code == 200, answer.text
        results = [event for turn in answer.json()["turns"] for event in turn["events"]]
        assert any(event["payload"].get("error") == "invalid_arguments" for event in results), results
        for name, meter in meters.items():
            assert meter.bytes() < MAX_BYTES, (name, meter.bytes() / MEBIBYTE)
            assert meter.seconds() < MAX_SECONDS, (name, meter.seconds())
