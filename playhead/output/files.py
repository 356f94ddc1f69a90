"""Files that commands write: conversations and reports, readable by their owner only."""

from pathlib import Path

from playhead.exit_codes import USAGE, CommandFailed
from store.database.private_files import write_private_file


def write_file(file: Path, content: bytes) -> None:
    """Write a file for its owner alone. Raises CommandFailed when it cannot be written."""
    try:
        write_private_file(file, content)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written: {error.strerror}.", status=USAGE) from error
