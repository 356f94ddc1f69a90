"""CPU time and memory of processes, read from /proc (Linux only)."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
MEGABYTE = 2**20


@dataclass(frozen=True)
class Process:
    """One process: its parent, its command line and the seconds of CPU it and its ended children have used."""

    pid: int
    parent: int
    command: str
    cpu_seconds: float


def all_processes() -> dict[int, Process]:
    """Every process of this machine that can be read, by id."""
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            process = _read(int(folder.name))
            if process is not None:
                found[process.pid] = process
    return found


def with_descendants(pids: Iterable[int]) -> list[Process]:
    """These processes and everything that they started and that still runs."""
    running = all_processes()
    wanted = {pid for pid in pids if pid in running}
    while more := {pid for pid, process in running.items() if process.parent in wanted} - wanted:
        wanted |= more
    return [running[pid] for pid in sorted(wanted)]


def find(*parts: str) -> int:
    """The one process whose command line contains all parts. Raises LookupError when there is none."""
    for process in all_processes().values():
        if all(part in process.command for part in parts) and process.pid != os.getpid():
            return process.pid
    raise LookupError(f"no process has {parts} in its command line")


def parent_of(pid: int) -> int:
    """The process that started this one. Raises LookupError when it does not run."""
    process = _read(pid)
    if process is None:
        raise LookupError(f"there is no process {pid}")
    return process.parent


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU used so far by these processes and what they started."""
    return sum(process.cpu_seconds for process in with_descendants(pids))


def memory_megabytes(pids: Iterable[int]) -> float:
    """Memory of these processes and what they started; a shared page is divided among those that share it."""
    return sum(_proportional_bytes(process.pid) for process in with_descendants(pids)) / MEGABYTE


def _read(pid: int) -> Process | None:
    try:
        stat = (PROC / str(pid) / "stat").read_text()
        command = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return None
    fields = stat.rpartition(")")[2].split()  # after the name, which may contain spaces
    ticks = sum(int(each) for each in fields[11:15])
    return Process(pid, int(fields[1]), command.replace(b"\0", b" ").decode(errors="replace"), ticks / TICKS)


def _proportional_bytes(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
