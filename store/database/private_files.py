"""Folders and files with access for their owner only, for databases, logs and exports with conversations."""

import os
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create a folder for the owner alone. One that exists keeps its permissions: others may be meant to read it."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def write_private_file(file: Path, content: bytes) -> None:
    """Write a file for the owner alone. One that exists keeps its permissions: others may be meant to read it."""
    with open(file, "wb", opener=_open_private) as written:
        written.write(content)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
