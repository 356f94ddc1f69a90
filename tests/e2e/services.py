"""`playhead` commands as processes of their own, with their logs."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.processes import COMMAND, END_SECONDS, Process, environment_of, until_seen
from tests.support.forked import completed, forked

COMMAND_SECONDS = 150.0
"""Seconds for a command to end by itself on a busy machine: some wait for other processes."""


class Service:
    """One `playhead` command as a process, with its log."""

    def __init__(self, process: Process, log_file: Path) -> None:
        self.process = process
        self._log_file = log_file

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    def until_logged(self, words: str) -> None:
        """Wait until it has written this."""
        until_seen(lambda: words in self.log, lambda: f"{words!r} was never logged:\n{self.log}")

    def terminate(self) -> int:
        """Send SIGTERM, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=END_SECONDS)


@contextmanager
def service(folder: Path, *command: str, **variables: str) -> Iterator[Service]:
    """A command that runs while the block does."""
    log_file = folder / f"{command[0]}.log"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, *command],
            cwd=folder,
            env={**environment_of(folder), **variables},
            stdout=log,
            stderr=log,
            text=True,
        )
    with _running(process, log_file) as running:
        yield running


@contextmanager
def forked_service(folder: Path, *command: str, **variables: str) -> Iterator[Service]:
    """A command that runs while the block does, as a fork."""
    log_file = folder / f"{command[0]}.log"
    log_file.write_bytes(b"")
    process = forked(command, folder, {**environment_of(folder), **variables}, log_file, is_piped=False)
    with _running(process, log_file) as running:
        yield running


@contextmanager
def _running(process: Process, log_file: Path) -> Iterator[Service]:
    try:
        yield Service(process, log_file)
    finally:
        process.kill()
        process.wait()


def forked_playhead(folder: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself, as a fork."""
    return completed(command, folder, {**environment_of(folder), **variables}, COMMAND_SECONDS)
