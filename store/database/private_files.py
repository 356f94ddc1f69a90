"""Folders and files with access for their owner only, for databases and logs with conversations."""

from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create a folder for the owner alone. One that exists keeps its permissions: others may be meant to read it."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
