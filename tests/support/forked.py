"""`playhead` commands, and functions, as forks of a process that has imported everything.

Importing takes three seconds of processor time, starting a tenth of one. Such a command differs from one that was
executed in two things only: it shares the imported modules, and `/proc/PID/environ` shows the environment of the
process that it was forked from.
"""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import TextIO

from playhead.cli.main import main

IMPORTED = (
    "playhead.cli.main",
    "playhead.services.api_server",
    "playhead.services.dev_stack",
    "playhead.services.example_agents",
    "playhead.services.worker",
    "pydantic_ai.models.openai",
    "store.migrate",
)
"""Modules that the forked commands import when they run."""
FREEZE = "tests.support.frozen"
"""Imported last, so that the garbage collector of the forks skips everything that was imported."""

KILL_SECONDS = 120.0
"""Seconds until a process that is killed, or kills itself, is gone on a busy machine."""

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload([*IMPORTED, __name__, FREEZE])


class Forked:
    """A running command, with those methods of `subprocess.Popen` that tests use."""

    def __init__(self, process: BaseProcess, stdout: TextIO | None) -> None:
        self._process = process
        self.stdout = stdout

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send_signal(self, signal_number: signal.Signals) -> None:
        if self._process.is_alive():
            os.kill(self.pid, signal_number)

    def kill(self) -> None:
        self._process.kill()

    @property
    def has_ended(self) -> bool:
        return not self._process.is_alive()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired when it does not end in time."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("playhead", timeout or 0)
        return self._process.exitcode


class ForkedProcess:
    """One process of an installation, as a fork that can be killed with SIGKILL and started again.

    It never outlives the test process, however that ends.
    """

    def __init__(self, name: str, function: Callable[[], None], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.environment = environment
        self.log_file = folder / f"{name}.log"
        """The output of all its runs."""
        self._function = function
        self._folder = folder
        self._process: Forked | None = None

    async def start(self) -> None:
        """Start it, or start it again."""
        self._process = await asyncio.to_thread(
            forked_call, partial(_with_its_parent, self._function), self._folder, self.environment, self.log_file
        )

    async def kill(self) -> None:
        """End it with SIGKILL, and wait until it is gone."""
        if self._process is None:
            return
        self._process.kill()
        await asyncio.to_thread(self._process.wait, KILL_SECONDS)
        self._process = None

    @property
    def has_ended(self) -> bool:
        """True when it ended by itself: it neither runs nor was killed."""
        return self._process is not None and self._process.has_ended

    async def ended(self, within: float) -> int:
        """Its exit status, once it ends by itself: the negative number of the signal if one killed it.

        Raises subprocess.TimeoutExpired when it does not end in time.
        """
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, within)

    @property
    def log(self) -> str:
        """Its log so far, under its name."""
        return f"{self.name}:\n{self.log_file.read_text(errors='replace')}"


def _with_its_parent(function: Callable[[], None]) -> None:
    """Run a function, and exit when the test process ends, however that ends."""
    tests = multiprocessing.parent_process()
    assert tests is not None

    def end_with_them() -> None:
        tests.join()
        os._exit(1)

    Thread(target=end_with_them, daemon=True).start()
    function()


def forked(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, *, is_piped: bool = True
) -> Forked:
    """Run `playhead COMMAND` in a folder. Its errors are added to the log; its output too, unless it is piped."""
    return forked_call(partial(run_command, tuple(command)), folder, environment, log, is_piped=is_piped)


def forked_call(
    function: Callable[[], None], folder: Path, environment: Mapping[str, str], log: Path, *, is_piped: bool = False
) -> Forked:
    """Run a function of a module in a folder. Its errors are added to the log; its output too, unless it is piped."""
    reader, writer = _forking.Pipe(duplex=False)
    process = _forking.Process(target=_run, args=(function, folder, environment, log, writer if is_piped else None))
    process.start()
    writer.close()
    stdout = os.fdopen(os.dup(reader.fileno()), encoding="utf-8") if is_piped else None
    reader.close()
    return Forked(process, stdout)


def completed(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run `playhead COMMAND` in a folder until it ends by itself."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as errors:
        process = forked(command, folder, environment, Path(errors.name))
        assert process.stdout
        with process.stdout:
            output = process.stdout.read()
        return subprocess.CompletedProcess(command, process.wait(timeout), output, errors.read())


def run_command(command: Sequence[str]) -> None:
    """Run `playhead COMMAND` in this process."""
    sys.argv = ["playhead", *command]
    main()


def _run(
    function: Callable[[], None], folder: Path, environment: Mapping[str, str], log: Path, stdout: Connection | None
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as written:
        os.dup2(written.fileno(), 2)
        os.dup2(stdout.fileno() if stdout else written.fileno(), 1)
    if stdout:
        stdout.close()
    function()
