"""`playhead dev` with the hands of an operator: Temporal's own command line, and database files that are set back."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from playhead.temporal.dev_server import server_program
from tests.e2e.processes import DevStack, Ports, dev_stack, until_seen

Json = dict[str, Any]


class OperatedStack:
    """A running stack, its sessions over HTTP, and `temporal workflow` against its server."""

    def __init__(self, stack: DevStack) -> None:
        self.stack = stack
        self._temporal = f"127.0.0.1:{stack.ports.temporal}"

    def create(self) -> str:
        """A new session with the booking agent, greeted."""
        response = self.stack.http.post("/v1/sessions", json={"agent": "booking-line"})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def say(self, session_id: str, text: str, message_id: str | None = None) -> Json:
        """The session after the reply to a message."""
        body = {"text": text, "message_id": message_id or f"msg_{uuid4().hex}"}
        response = self.stack.http.post(f"/v1/sessions/{session_id}/messages", json=body)
        assert response.status_code == 200, response.text
        session: Json = response.json()
        return session

    def session(self, session_id: str) -> Json:
        response = self.stack.http.get(f"/v1/sessions/{session_id}")
        assert response.status_code == 200, response.text
        session: Json = response.json()
        return session

    def workflow(self, command: str, *options: str) -> str:
        """Run `temporal workflow COMMAND` and return what it printed."""
        done = subprocess.run(
            [
                str(server_program()),
                "workflow",
                command,
                *options,
                "--address",
                f"127.0.0.1:{self.stack.ports.temporal}",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def input_of(self, session_id: str, file: Path) -> Path:
        """The input of a session's workflow, in a file for `temporal workflow start --input-file`."""
        history = json.loads(self.workflow("show", "-w", f"session-{session_id}", "-o", "json"))
        started = history["events"][0]["workflowExecutionStartedEventAttributes"]
        file.write_bytes(base64.b64decode(started["input"]["payloads"][0]["data"]))
        return file

    def start_copy(self, workflow_id: str, input_file: Path) -> str:
        """Start a session workflow by hand; returns how it closed."""
        options = ("--type", "Session", "--task-queue", "playhead", "--input-file", str(input_file))
        self.workflow("start", "-w", workflow_id, *options)
        until_seen(lambda: self._status(workflow_id) != "WORKFLOW_EXECUTION_STATUS_RUNNING", lambda: "it still runs")
        return self._status(workflow_id)

    def _status(self, workflow_id: str) -> str:
        described = json.loads(self.workflow("describe", "-w", workflow_id, "-o", "json"))
        return str(described["workflowExecutionInfo"]["status"])

    def ledger(self, session_id: str) -> list[Json]:
        """The ledger rows of a session."""
        rows = self.stack.http.get("/v1/usage/ledger", params={"limit": 200}).json()["items"]
        return [row for row in rows if row["session_id"] == session_id]

    def requests_billed(self, session_id: str) -> int:
        """Model calls in the session's ledger rows."""
        return sum(_requests(row["usage"]) for row in self.ledger(session_id))

    def until_agreed(self, session_id: str, at_least: int) -> Json:
        """The session, once its own usage and the ledger come to the same number of model calls, and enough."""

        def agree() -> bool:
            used = _requests(self.session(session_id)["usage"])
            return used == self.requests_billed(session_id) >= at_least

        until_seen(agree, lambda: f"{self.session(session_id)['usage']} against {self.ledger(session_id)}")
        return self.session(session_id)


@contextmanager
def operated_stack(folder: Path, ports: Ports | None = None) -> Iterator[OperatedStack]:
    """A stack on the files of a folder, ready, while the block runs."""
    with dev_stack(folder, ports) as stack:
        stack.until_ready()
        yield OperatedStack(stack)


def copied(folder: Path, names: str, to: Path) -> None:
    """Copy database files, with those beside them that belong to them, as a back-up of a stopped stack does."""
    to.mkdir(exist_ok=True)
    for file in (folder / "data").glob(f"{names}*"):
        shutil.copy2(file, to / file.name)


def restored(backup: Path, names: str, folder: Path) -> None:
    """Put database files back in the place of those that are there."""
    for file in (folder / "data").glob(f"{names}*"):
        file.unlink()
    for file in backup.glob(f"{names}*"):
        shutil.copy2(file, folder / "data" / file.name)


def texts(session: Json) -> list[str | None]:
    """The user's messages on the visible branch; None for the greeting."""
    return [turn["user_message"]["text"] if turn["user_message"] else None for turn in session["turns"]]


def _requests(usage: Json) -> int:
    return sum(model["requests"] for model in usage["llm"].values())
