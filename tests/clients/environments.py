"""Environments of the clients: each with the packages of its own lock file, kept in a folder under that file's hash."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("CLIENTS_CACHE") or HERE.parents[1] / ".clients")
INSTALL_SECONDS = 600.0
"""Seconds to install one client on a busy machine; usually a few."""


def python_environment(name: str) -> Path:
    """The interpreter of a Python client, which is installed first if its lock file is new."""
    lock = HERE / name / "requirements.lock"
    environment = _folder(name, lock.read_bytes(), sys.version.encode())
    python = environment / "bin" / "python"
    with _installing(environment) as is_new:
        if is_new:
            uv = _uv()
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)])
            _run([uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python), "-r", str(lock)])
    return python


def node_environment(name: str) -> Path:
    """The folder of a Node client, which is installed first if its lock file is new."""
    lock = HERE / name / "package-lock.json"
    environment = _folder(name, lock.read_bytes())
    with _installing(environment) as is_new:
        if is_new:
            environment.mkdir(parents=True)
            for file in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(HERE / name / file, environment)
            _run(["npm", "ci", "--silent", "--prefix", str(environment)], environment)
    return environment


def _uv() -> str:
    """The installer, which has an environment of its own: it installs the others many times faster than pip."""
    lock = HERE / "uv" / "requirements.lock"
    environment = _folder("uv", lock.read_bytes(), sys.version.encode())
    with _installing(environment) as is_new:
        if is_new:
            venv.create(environment, with_pip=True)
            python = str(environment / "bin" / "python")
            _run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)])
    return str(environment / "bin" / "uv")


def _folder(name: str, *content: bytes) -> Path:
    return CACHE / f"{name}-{sha256(b' '.join(content)).hexdigest()[:16]}"


@contextmanager
def _installing(environment: Path) -> Iterator[bool]:
    """Hold the lock of an environment; yields True if it must be installed. An unfinished one is installed again."""
    CACHE.mkdir(parents=True, exist_ok=True)
    ready = environment.with_name(f"{environment.name}.ready")
    with environment.with_name(f"{environment.name}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        is_new = not ready.exists()
        if is_new:
            shutil.rmtree(environment, ignore_errors=True)
        yield is_new
        ready.touch()


def _run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
