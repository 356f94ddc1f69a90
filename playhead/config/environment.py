"""The process's environment: what an `.env` file adds to it, and variables that look like settings but are none."""

import difflib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

PREFIX = "PLAYHEAD_"
API_URL = "PLAYHEAD_API_URL"
API_KEY = "PLAYHEAD_API_KEY"
DEFAULT_API_URL = "http://127.0.0.1:8080"

COMMAND_LINE_VARIABLES = {
    API_URL: f"Where the command line finds the API ({DEFAULT_API_URL} unless set).",
    API_KEY: "The API key that goes with every call; `playhead dev` needs none.",
}
"""What the command line's remote commands read, each with what it means. The services do not look at these."""

DOCKER_COMPOSE_VARIABLES = ("PLAYHEAD_DB_PASSWORD", "PLAYHEAD_PORT", "PLAYHEAD_VERSION")
"""Read by docker-compose.yml alone; they meet Playhead when both read one `.env` file."""


def apply_env_file(path: Path = Path(".env")) -> None:
    """Take the variables of an `.env` file into the environment, where those already set win.

    Everything in it counts, not only `PLAYHEAD_*`: provider keys and `TEMPORAL_*` are read by libraries.
    A missing file and empty values change nothing.
    """
    if not path.is_file():
        return
    from dotenv import dotenv_values

    for name, value in dotenv_values(path).items():
        if value and not os.environ.get(name):
            os.environ[name] = value


def warnings_about(variables: Iterable[str], known: Collection[str]) -> list[str]:
    """A sentence for each `PLAYHEAD_*` variable that means nothing, with the name it may have been meant to have."""
    meant = {*known, *COMMAND_LINE_VARIABLES, *DOCKER_COMPOSE_VARIABLES}
    unknown = sorted(name for name in variables if name.upper().startswith(PREFIX) and name.upper() not in meant)
    return [f"{name} is not a setting and is ignored{_guess(name, known)}" for name in unknown]


def _guess(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name.upper(), [*known, *COMMAND_LINE_VARIABLES], n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else "; `playhead settings` lists what there is."
