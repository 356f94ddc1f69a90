"""Snapshots: a session's timeline at one moment, with every turn already encoded as JSON.

Closed turns never change, so after a reply only its turn is encoded and the rest of the response is copied. The cost
of a response does not grow with the conversation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cachetools import LRUCache

from api.schemas.responses import Branch, Turn
from contracts.sessions import SendMessageResult
from domain.sessions import views
from domain.sessions.views import MAX_VISIBLE_TURNS, SessionHead, TimelineView
from domain.turns import turn as domain_turns
from domain.turns.turn import TurnStatus

MAX_CACHED_BYTES: Final = 64 * 1024 * 1024
"""Memory for the latest snapshots of active sessions."""
ENTRY_BYTES: Final = 2_000
"""Approximate size of a snapshot without its turns."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session as of one moment: its head, and its visible turns and discarded branches in JSON."""

    head: SessionHead
    as_of: datetime
    turns: tuple[bytes, ...]
    branches: bytes
    newest_id: str | None
    newest_status: TurnStatus | None

    @classmethod
    def of(cls, view: TimelineView, as_of: datetime) -> "Snapshot":
        """Render a view."""
        newest = view.turns[-1] if view.turns else None
        return cls(
            head=view.head,
            as_of=as_of,
            turns=tuple(render_turn(turn) for turn in view.turns),
            branches=b",".join(map(render_branch, view.discarded_branches)),
            newest_id=newest.id if newest else None,
            newest_status=newest.status if newest else None,
        )

    @property
    def pending_ids(self) -> list[str]:
        """The ids of pending turns: the newest turn, or none."""
        return [self.newest_id] if self.newest_id and self.newest_status == "pending" else []

    @property
    def size(self) -> int:
        return ENTRY_BYTES + len(self.branches) + sum(map(len, self.turns))

    def after(self, result: SendMessageResult, turn: domain_turns.Turn) -> "Snapshot | None":
        """This session after one more answered turn, or None when more than that has changed.

        Decided by the version: a message that is answered at once changes the timeline twice, when it is accepted
        and when it is answered, and a third time if the session ends with it.
        """
        head = result.head
        changes = head.version - self.head.version
        is_next = (
            head.run_id == self.head.run_id
            and result.previous_version == self.head.version
            and changes == (3 if head.is_completed else 2)
            and turn.parent_id == self.newest_id
            and head.head_turn_id == turn.id
        )
        # After a rewind the message discarded a branch; before a pending turn it waited in the queue.
        if not is_next or self.head.status == "rewound" or self.newest_status == "pending":
            return None
        return Snapshot(
            head=head,
            as_of=head.updated_at,
            turns=(*self.turns, render_turn(turn))[-MAX_VISIBLE_TURNS:],
            branches=self.branches,
            newest_id=turn.id,
            newest_status=turn.status,
        )


class LatestSnapshots:
    """Cache of the latest snapshot of each active session, bounded by memory."""

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._snapshots: LRUCache[str, Snapshot] = LRUCache(max_bytes, getsizeof=lambda snapshot: snapshot.size)

    def get(self, session_id: str) -> Snapshot | None:
        """The cached snapshot, which may be behind the session."""
        return self._snapshots.get(session_id)

    def keep(self, session_id: str, snapshot: Snapshot) -> None:
        """Cache a snapshot unless a newer one of the same run is cached. One over the size of the cache is dropped."""
        cached = self._snapshots.get(session_id)
        if cached and cached.head.run_id == snapshot.head.run_id and cached.head.version > snapshot.head.version:
            return
        if snapshot.size > self._snapshots.maxsize:
            self.drop(session_id)
        else:
            self._snapshots[session_id] = snapshot

    def drop(self, session_id: str) -> None:
        """Remove the snapshot of a session."""
        self._snapshots.pop(session_id, None)


def render_turn(turn: domain_turns.Turn) -> bytes:
    """A turn as JSON."""
    return Turn.model_validate(turn).model_dump_json().encode()


def render_turns(turns: Iterable[domain_turns.Turn]) -> list[bytes]:
    """Turns as JSON."""
    return [render_turn(turn) for turn in turns]


def render_branch(branch: views.BranchView) -> bytes:
    """A discarded branch as JSON."""
    return Branch.model_validate(branch).model_dump_json().encode()
