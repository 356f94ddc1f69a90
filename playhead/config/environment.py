"""The environment of the process, and the variables that an `.env` file adds to it."""

import os
from pathlib import Path


def apply_env_file(path: Path = Path(".env")) -> None:
    """Add the variables of an `.env` file to the environment; those already set win.

    All variables count, not only `PLAYHEAD_*`: libraries read provider keys and `TEMPORAL_*`.
    A missing file and empty values change nothing.
    """
    if not path.is_file():
        return
    from dotenv import dotenv_values

    for name, value in dotenv_values(path).items():
        if value and not os.environ.get(name):
            os.environ[name] = value
