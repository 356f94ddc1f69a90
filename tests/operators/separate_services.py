"""A Temporal server, an API and workers as processes of their own: each can be replaced while the others go on."""

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from playhead.temporal.dev_server import (
    DYNAMIC_CONFIG,
    SQLITE_PRAGMAS,
    dynamic_config,
    server_program,
)
from tests.e2e.processes import DevStack, Ports, until_seen
from tests.e2e.services import Service, forked_playhead, forked_service
from tests.operators.operator_stack import OperatedStack, environment_of_stack
from tests.support.loop_thread import LoopThread
from tests.support.provider import ModelProvider

PAUSING = {"frontend.WorkflowPauseEnabled": True}
"""Operators may pause workflows where the server allows it."""
DELETING_TASKS: dict[str, str | int] = {
    "history.transferProcessorUpdateAckInterval": "100ms",
    "matching.maxTaskDeleteBatchSize": 1,
}
"""Settings of a server that deletes each task once it is handed out; by default it deletes them later, many at once."""


class SeparateServices(OperatedStack):
    """An API and a Temporal server; each test starts the workers that it needs."""

    def __init__(
        self, stack: DevStack, provider: ModelProvider, loop: LoopThread, database_url: str, variables: dict[str, str]
    ) -> None:
        super().__init__(stack, provider, loop, database_url)
        self._variables = variables
        self._server = server_of(stack.folder, stack.ports.temporal)

    @contextmanager
    def without_server(self) -> Iterator[None]:
        """Kill the server, wait until the API has noticed, and start the server again after the block."""
        self.stop_server()
        until_seen(lambda: not self.stack.answers("/readyz"), lambda: "the API did not notice that Temporal is gone")
        yield
        self._server = server_of(self.stack.folder, self.stack.ports.temporal)
        until_seen(lambda: self.stack.answers("/readyz"), lambda: "the API did not come back")

    def stop_server(self) -> None:
        """Kill the server."""
        self._server.kill()
        self._server.wait()

    @contextmanager
    def worker(self, build_id: str = "") -> Iterator[Service]:
        """A worker while the block runs, of a build if one is given; it is stopped afterwards and must exit cleanly."""
        folder = self.stack.folder / (build_id or "worker")
        folder.mkdir(exist_ok=True)
        build = {"PLAYHEAD_BUILD_ID": build_id} if build_id else {}
        with forked_service(folder, "worker", **self._variables, **build) as worker:
            worker.until_logged("worker polling for tasks")
            yield worker
            assert worker.terminate() == 0, worker.log


def server_of(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """A server on the database in a folder, as `playhead dev` starts it; operators may pause workflows."""
    file = folder / "data" / "temporal.db"
    options = ["--headless", "--port", str(port), "--db-filename", str(file), "--log-level", "warn"]
    pragmas = [f"--sqlite-pragma={pragma}" for pragma in SQLITE_PRAGMAS]
    settings = dynamic_config({**DYNAMIC_CONFIG, **PAUSING, **DELETING_TASKS})
    command = [str(server_program()), "server", "start-dev", "--ip", "127.0.0.1", *options, *pragmas, *settings]
    with (folder / "temporal.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def stored_tasks(folder: Path) -> int:
    """The tasks in the database of a running Temporal server, which it hands out, or hands out again when it starts.

    A task that is handed out again makes the server forget what it has of the workflow in memory only: an update that
    a worker is processing. The worker then forgets the workflow too.
    """
    counts = " + ".join(f"(SELECT count(*) FROM {table})" for table in ("transfer_tasks", "tasks", "tasks_v2"))
    with closing(sqlite3.connect(f"file:{folder / 'data' / 'temporal.db'}?mode=ro", uri=True)) as database:
        return int(database.execute(f"SELECT {counts}").fetchone()[0])


@contextmanager
def separate_services(
    folder: Path, provider: ModelProvider, loop: LoopThread, database_url: str | None = None
) -> Iterator[SeparateServices]:
    """A server and an API on the files of a folder, or on the database at a URL, ready, while the block runs."""
    (folder / "data").mkdir()
    ports = Ports.free()
    url = database_url or f"sqlite:///{folder}/playhead.db"
    addresses = {"TEMPORAL_ADDRESS": f"127.0.0.1:{ports.temporal}", "PLAYHEAD_API_PORT": str(ports.api)}
    variables = environment_of_stack(provider, url, PLAYHEAD_RECONCILE_INTERVAL_SECONDS="0", **addresses)
    migrated = forked_playhead(folder, "db", "upgrade", **variables)
    assert migrated.returncode == 0, migrated.stderr
    key = forked_playhead(folder, "keys", "create", "tests", **variables).stdout.strip()
    with forked_service(folder, "api", **variables) as api:
        stack = DevStack(folder, ports, api.process)
        stack.http.headers["Authorization"] = f"Bearer {key}"
        services = SeparateServices(stack, provider, loop, url, variables)
        try:
            with stack.http:
                until_seen(lambda: stack.answers("/readyz"), lambda: api.log)
                yield services
        finally:
            services.stop_server()
