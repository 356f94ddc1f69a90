"""A mark for words of conversations. It must appear in no log; the whole test run is searched for it."""

from pathlib import Path

MARK = "periwinkle-4711"


def logs_with_marked_words(folder: Path) -> list[Path]:
    """The log files below a folder that contain the mark."""
    return [file for file in folder.rglob("*.log") if MARK in file.read_text(errors="replace")]
