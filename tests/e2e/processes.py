"""`playhead dev` as a process of a test, and checks for processes and files that it leaves behind."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import httpx2
import pytest

from tests.support.forked import forked
from tests.support.ports import free_port

CHECKOUT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from playhead.cli.main import main; main()")
READY_SECONDS = 90.0
END_SECONDS = 60.0
PAUSE = 0.05
"""Seconds for a stack to be ready and to end on a busy machine (usually a few), and between two checks."""
OF_THE_PERSON = ("PLAYHEAD_", "TEMPORAL_", "OPENAI_", "ANTHROPIC_")
MARK = "TESTED_STACK"
"""An environment variable that every process of a stack inherits; its value is the stack's folder."""

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@dataclass(frozen=True)
class Ports:
    """The ports of one stack, free when they were chosen."""

    api: int
    temporal: int
    temporal_ui: int

    @classmethod
    def free(cls) -> "Ports":
        return cls(free_port(), free_port(), free_port())

    @property
    def options(self) -> list[str]:
        """The ports as options of the command."""
        return [
            f"--api-port={self.api}",
            f"--temporal-port={self.temporal}",
            f"--temporal-ui-port={self.temporal_ui}",
        ]


class Process(Protocol):
    """A running command: `subprocess.Popen`, or a fork."""

    @property
    def pid(self) -> int: ...
    @property
    def stdout(self) -> IO[str] | None: ...
    def send_signal(self, signal_number: signal.Signals, /) -> None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...


class DevStack:
    """A running `playhead dev`."""

    def __init__(self, folder: Path, ports: Ports, process: Process) -> None:
        self.folder = folder
        self.ports = ports
        self.process = process
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{ports.api}", timeout=60, trust_env=False)

    def until_ready(self) -> dict[str, Any]:
        """The output of the stack once it is ready. Raises AssertionError with its log when it never is."""
        assert self.process.stdout
        readable, _, _ = select.select([self.process.stdout], [], [], READY_SECONDS)
        line = self.process.stdout.readline() if readable else ""
        assert line, f"the stack was not ready within {READY_SECONDS:g} s; it wrote:\n{self.log}"
        ready: dict[str, Any] = json.loads(line)
        return ready

    def answers(self, path: str) -> bool:
        """True when its API answers a GET with 200."""
        try:
            return self.http.get(path).status_code == 200
        except httpx2.TransportError:
            return False

    def end_with(self, signal_number: signal.Signals) -> int:
        """Send the stack a signal, and return its exit status."""
        self.process.send_signal(signal_number)
        return self.ended()

    def ended(self) -> int:
        """Wait until the stack ends, and return its exit status."""
        return self.process.wait(timeout=END_SECONDS)

    @property
    def log(self) -> str:
        """Its standard error so far."""
        return (self.folder / "stderr.log").read_text()


@contextmanager
def dev_stack(folder: Path, ports: Ports | None = None, **variables: str) -> Iterator[DevStack]:
    """`playhead dev` on free ports, with everything it keeps in a folder; killed when the block is left.

    `variables` are added to its environment.
    """
    ports = ports or Ports.free()
    environment = {**environment_of(folder), **variables}
    with (folder / "stderr.log").open("a") as log:
        process = subprocess.Popen(
            [*COMMAND, *_dev(folder, ports)], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    with _running(DevStack(folder, ports, process)) as stack:
        yield stack


@contextmanager
def forked_dev_stack(folder: Path, ports: Ports | None = None, **variables: str) -> Iterator[DevStack]:
    """As `dev_stack`, but as a fork, which starts in a third of the time."""
    ports = ports or Ports.free()
    environment = {**environment_of(folder), **variables}
    process = forked(_dev(folder, ports), folder, environment, folder / "stderr.log")
    with _running(DevStack(folder, ports, process)) as stack:
        yield stack


def _dev(folder: Path, ports: Ports) -> list[str]:
    return ["dev", "--json", f"--data-dir={folder / 'data'}", *ports.options]


@contextmanager
def _running(stack: DevStack) -> Iterator[DevStack]:
    try:
        yield stack
    finally:
        stack.http.close()
        stack.process.kill()
        stack.process.wait()
        if stack.process.stdout:
            stack.process.stdout.close()


def environment_of(folder: Path) -> dict[str, str]:
    """This environment without the person's settings and provider keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_PERSON)}
    return {**kept, "PYTHONPATH": str(CHECKOUT), MARK: str(folder)}


def processes_of(folder: Path) -> dict[int, str]:
    """The live processes that the stacks in a folder started, themselves included, by pid."""
    mark = f"{MARK}={folder}\0".encode()
    found = {}
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def until_gone(folder: Path) -> None:
    """Wait until no process of a folder's stacks is left. Raises AssertionError with those that stay."""
    until_seen(lambda: not processes_of(folder), lambda: f"these outlived their stack: {processes_of(folder)}")


def until_seen(seen: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Check a condition until it holds. Raises AssertionError with the text of `otherwise` when it never does."""
    deadline = time.monotonic() + END_SECONDS
    while not seen():
        assert time.monotonic() < deadline, otherwise()
        select.select([], [], [], PAUSE)
