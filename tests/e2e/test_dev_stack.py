"""`playhead dev` as a process: it starts, keeps sessions, ends cleanly, and leaves nothing behind."""

import signal
import socket
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from playhead.exit_codes import UNREACHABLE
from tests.e2e.processes import (
    COMMAND,
    DevStack,
    Ports,
    dev_stack,
    environment_of,
    needs_proc,
    processes_of,
    until_gone,
)


def opened(stack: DevStack) -> dict[str, Any]:
    """A new session with the booking agent, greeted."""
    response = stack.http.post("/v1/sessions", json={"agent": "booking-line"})
    assert response.status_code == 201, response.text
    session: dict[str, Any] = response.json()
    return session


def said(stack: DevStack, session_id: str, text: str) -> dict[str, Any]:
    """The session after the reply to a message."""
    body = {"text": text, "message_id": f"msg_{uuid4().hex}"}
    response = stack.http.post(f"/v1/sessions/{session_id}/messages", json=body)
    assert response.status_code == 200, response.text
    session: dict[str, Any] = response.json()
    return session


def texts(session: dict[str, Any]) -> list[str]:
    return [turn["assistant_message"]["text"] for turn in session["turns"]]


@needs_proc
def test_conversations_outlive_the_stack(tmp_path: Path) -> None:
    with dev_stack(tmp_path) as stack:
        ready = stack.until_ready()
        assert ready["api_url"] == f"http://127.0.0.1:{stack.ports.api}"
        assert ready["model"] == "demo"
        assert {"booking-line", "lead-qualification", "support-desk"} <= set(ready["agents"])
        assert stack.http.get("/readyz").status_code == 200
        session = opened(stack)
        before = said(stack, session["id"], "I would like to book a table.")
        assert stack.end_with(signal.SIGTERM) == 0, stack.log
        until_gone(tmp_path)

    with dev_stack(tmp_path) as stack:
        stack.until_ready()
        again = stack.http.get(f"/v1/sessions/{session['id']}").json()
        assert texts(again) == texts(before)
        after = said(stack, session["id"], "Tomorrow at seven, for four, in the name of Moreau.")
        assert texts(after)[: len(texts(before))] == texts(before)
        assert len(after["turns"]) == len(before["turns"]) + 1
        assert stack.end_with(signal.SIGINT) == 0, stack.log
        until_gone(tmp_path)


@needs_proc
def test_a_stack_ends_with_a_clear_message_when_it_loses_its_temporal_server(tmp_path: Path) -> None:
    with dev_stack(tmp_path) as stack:
        stack.until_ready()
        (temporal,) = [pid for pid, command in processes_of(tmp_path).items() if "start-dev" in command]
        subprocess.run(["kill", "-KILL", str(temporal)], check=True)
        assert stack.ended() == UNREACHABLE, stack.log
        assert "playhead: The Temporal server ended with status -9." in stack.log
        assert "Traceback" not in stack.log
        until_gone(tmp_path)


@needs_proc
def test_a_killed_stack_ends_its_temporal_server_too(tmp_path: Path) -> None:
    with dev_stack(tmp_path) as stack:
        stack.until_ready()
        assert any("start-dev" in command for command in processes_of(tmp_path).values())
        second = subprocess.run(
            [*COMMAND, "dev", f"--data-dir={tmp_path / 'data'}", *Ports.free().options],
            cwd=tmp_path,
            env=environment_of(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == UNREACHABLE
        assert f"is in use by process {stack.process.pid}" in second.stderr
        assert stack.end_with(signal.SIGKILL) == -signal.SIGKILL
        until_gone(tmp_path)


@pytest.mark.parametrize("option", ["--api-port", "--temporal-port", "--temporal-ui-port"])
def test_a_taken_port_is_named_with_the_option_that_changes_it(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*COMMAND, "dev", f"--data-dir={tmp_path / 'data'}", *Ports.free().options, f"{option}={port}"],
            cwd=tmp_path,
            env=environment_of(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == UNREACHABLE
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line == (
        f"playhead: Port {port} of 127.0.0.1 cannot be used (Address already in use); choose another with {option}."
    )
