"""Completions: turns of sessions as answers to requests."""

from dataclasses import dataclass
from typing import Final

from domain.sessions.timeline import WaitingClientCall
from domain.turns.turn import Turn
from domain.usage import Usage
from store.sessions.sessions import StoredSession

NOTHING_USED: Final = Usage()


@dataclass(frozen=True)
class Completion:
    """A session and its turn that answers a request, with the calls that the client is to carry out.

    `said` counts the characters of the reply that the client has from its previous request, and `used` is the usage of
    the turn up to there.
    """

    session: StoredSession
    turn: Turn
    calls: tuple[WaitingClientCall, ...] = ()
    said: int = 0
    used: Usage = NOTHING_USED
