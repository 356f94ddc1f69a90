"""The environment of the process, and the variables that an `.env` file adds to it."""

import os
import sys
from functools import cache
from pathlib import Path


def apply_env_file(path: Path = Path(".env")) -> None:
    """Add the variables of an `.env` file to the environment; those already set win.

    All variables count, not only `PLAYHEAD_*`: libraries read provider keys and `TEMPORAL_*`.
    A missing file and empty values change nothing.
    """
    if not path.is_file():
        return
    from dotenv import dotenv_values

    from playhead_client.environment import API_KEY, API_URL

    values = dotenv_values(path)
    # A folder must not decide where the person's own key is sent.
    if os.environ.get(API_KEY) and not os.environ.get(API_URL) and values.pop(API_URL, None):
        _warn(
            f"playhead: {API_URL} in {path} is ignored, because {API_KEY} comes from the environment. "
            "Set both in the same place.\n"
        )
    for name, value in values.items():
        if value and not os.environ.get(name):
            os.environ[name] = value


@cache
def _warn(message: str) -> None:
    """Write a message to standard error, once in a process."""
    sys.stderr.write(message)
