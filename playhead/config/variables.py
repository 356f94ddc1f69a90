"""`PLAYHEAD_*` variables that are not settings, and warnings about unknown ones."""

import difflib
from collections.abc import Collection, Iterable

from playhead_client import API_KEY, API_URL, DEFAULT_API_URL

PREFIX = "PLAYHEAD_"

COMMAND_LINE_VARIABLES = {
    API_URL: f"URL of the API ({DEFAULT_API_URL} unless set).",
    API_KEY: "API key sent with every call; `playhead dev` needs none.",
}
"""Variables of the command line's remote commands, with their meaning. The services do not read these."""

DOCKER_COMPOSE_VARIABLES = ("PLAYHEAD_DB_PASSWORD", "PLAYHEAD_PORT", "PLAYHEAD_VERSION")
"""Variables of docker-compose.yml alone. Playhead sees them when both read one `.env` file."""


def warnings_about(variables: Iterable[str], known: Collection[str]) -> list[str]:
    """A sentence for each `PLAYHEAD_*` variable that is not a setting, with the name that may have been meant."""
    valid = {*known, *COMMAND_LINE_VARIABLES, *DOCKER_COMPOSE_VARIABLES}
    unknown = sorted(name for name in variables if name.upper().startswith(PREFIX) and name.upper() not in valid)
    return [f"{name} is not a setting and is ignored{_guess(name, known)}" for name in unknown]


def _guess(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name.upper(), [*known, *COMMAND_LINE_VARIABLES], n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else "; `playhead settings` lists all settings."
