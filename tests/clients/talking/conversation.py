"""Conversations of the clients' scripts: three messages each, in every way in which a client is used."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence

BASE_URL = os.environ["CLIENT_BASE_URL"]
API_KEY = os.environ["CLIENT_API_KEY"]
MODEL = os.environ["CLIENT_MODEL"]

Way = Callable[[Sequence[str]], list[str]]
"""Sends messages, each after the reply to the one before, and returns the replies."""


def messages_of(way: str) -> list[str]:
    """The messages of one conversation. The first names it, so that no two are the same."""
    return [f"Hello, this is {os.environ['CLIENT_NAME']}: {way}.", "A table for four on Friday, please.", "At seven."]


def hold(ways: Mapping[str, Way]) -> None:
    """Hold a conversation in each way, and write the replies, or the error, by way as the last line of the output."""
    outcomes: dict[str, object] = {}
    for name, way in ways.items():
        try:
            outcomes[name] = way(messages_of(name))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            outcomes[name] = f"{type(error).__name__}: {error}"
    sys.stdout.write(f"\n{json.dumps(outcomes)}\n")
