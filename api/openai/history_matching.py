"""Comparison of a client's history with the turns of a session, for histories whose beginning is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from domain.sessions.seen_digest import Spoken, is_beginning, is_same
from domain.sessions.views import TimelineView
from domain.turns.turn import Turn

MAX_JOINED: Final = 50
"""Messages in a row that are compared with one turn."""


@dataclass(frozen=True)
class Exchange:
    """Consecutive user messages, and the reply to them: None when the client has none, and it may have only a part."""

    asked: tuple[str, ...]
    reply: str | None


@dataclass(frozen=True)
class HistoryMatch:
    """The turn that a history ends with. `is_whole` is true when the history has the session's first message."""

    turn: Turn
    is_whole: bool


def exchanges_of(spoken: Sequence[Spoken]) -> list[Exchange]:
    """The exchanges of a conversation, oldest first. A greeting belongs to none, and blank texts do not count."""
    found: list[Exchange] = []
    asked: list[str] = []
    reply: list[str] = []
    for speaker, text in spoken:
        if not text.strip():
            continue
        if speaker == "assistant":
            reply.append(text)
            continue
        if reply:
            found += _exchange(asked, reply)
            asked, reply = [], []
        asked.append(text)
    return [*found, *_exchange(asked, reply)]


def find_history(history: Sequence[Exchange], view: TimelineView) -> HistoryMatch | None:
    """The turn that a history ends with: the newest that matches, on the visible branch before any other."""
    tried: set[str] = set()
    for path in _paths(view):
        for end in range(len(path) - 1, -1, -1):
            turn = path[end]
            if turn.id in tried or turn.user_message is None or turn.status == "failed":
                continue
            tried.add(turn.id)
            is_whole = _matches(history, path[: end + 1])
            if is_whole is not None:
                return HistoryMatch(turn, is_whole)
    return None


def _exchange(asked: list[str], reply: list[str]) -> list[Exchange]:
    return [Exchange(tuple(asked), " ".join(reply) or None)] if asked else []


def _matches(history: Sequence[Exchange], turns: Sequence[Turn]) -> bool | None:
    """None when turns, oldest first, do not end with a history; else True when the history has all their messages.

    A turn that failed or was interrupted may be missing in a history, and so may the beginning.
    """
    left = list(turns)
    for exchange in reversed(history):
        asked, reply = list(exchange.asked), exchange.reply
        while asked:
            if not left:
                # The view may lack the beginning of a long session, and nothing more is compared then.
                return False if turns[0].parent_id is not None else None
            turn = left.pop()
            length = _asked_in(turn, asked)
            if length and (reply is None or has_reply(turn, reply)):
                asked, reply = asked[:-length], None
            elif len(left) == len(turns) - 1 or turn.status not in ("failed", "interrupted"):
                return None
    return not any(turn.user_message for turn in left) and (not turns or turns[0].parent_id is None)


def _asked_in(turn: Turn, asked: Sequence[str]) -> int:
    """The number of messages at the end of a row that a turn answers; it may answer several, joined."""
    if turn.user_message is None:
        return 0
    text = turn.user_message.text
    lengths = range(1, min(len(asked), MAX_JOINED) + 1)
    return next((length for length in lengths if is_same(" ".join(asked[-length:]), text)), 0)


def has_reply(turn: Turn, reply: str) -> bool:
    """True when a reply, which may be cut off, is that of a turn. How much of a stopped reply was sent is not known."""
    if turn.status in ("pending", "interrupted"):
        return True
    return turn.assistant_message is not None and is_beginning(reply, turn.assistant_message.text)


def _paths(view: TimelineView) -> Iterator[list[Turn]]:
    """The visible branch with the turns that a rewind hides, and then the discarded branches, the newest first."""
    turns = {turn.id: turn for branch in view.discarded_branches for turn in branch.turns}
    turns |= {turn.id: turn for turn in (*view.turns, *view.future)}
    leaves = [*view.turns[-1:], *view.future[-1:]]
    leaves += [branch.turns[-1] for branch in reversed(view.discarded_branches) if branch.turns]
    for leaf in leaves:
        path = [leaf]
        while (parent_id := path[-1].parent_id) in turns:
            path.append(turns[parent_id])
        yield path[::-1]
