"""A session's timeline at one moment, with every turn already in its JSON form.

Turns never change once they are closed, so a reply needs to render only the turn it brought: the rest of the answer
is copied. What it costs to answer does not grow with the conversation.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from api.schemas.responses import Branch, Turn
from contracts.sessions import SendMessageResult
from domain.sessions import views
from domain.sessions.views import MAX_VISIBLE_TURNS, SessionHead, TimelineView
from domain.turns import turn as domain_turns
from domain.turns.turn import TurnStatus

KEPT_BYTES: Final = 64 * 1024 * 1024
"""Memory for the newest snapshots of sessions that are being talked to."""
ENTRY_BYTES: Final = 2_000
"""What a snapshot takes besides its turns, roughly."""


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
        """The turns that are still being answered: the newest, or none."""
        return [self.newest_id] if self.newest_id and self.newest_status == "pending" else []

    @property
    def size(self) -> int:
        return ENTRY_BYTES + len(self.branches) + sum(map(len, self.turns))

    def after(self, result: SendMessageResult, turn: domain_turns.Turn) -> "Snapshot | None":
        """This session after one more answered turn, or None when more than that has changed.

        The version tells: a message that is answered at once changes the timeline twice, when it is accepted
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
        # After a rewind the message gave up a branch; before a pending turn it waited in the queue.
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
    """The newest snapshot of each session lately talked to, bounded by memory."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()

    def get(self, session_id: str) -> Snapshot | None:
        """The newest snapshot that was kept, which may be behind the session."""
        return self._snapshots.get(session_id)

    def keep(self, session_id: str, snapshot: Snapshot) -> None:
        """Keep a snapshot unless a newer one of the same run is here; the sessions unheard of for longest make room."""
        known = self._snapshots.get(session_id)
        if known is not None:
            if known.head.run_id == snapshot.head.run_id and known.head.version > snapshot.head.version:
                return
            self._bytes -= known.size
        self._snapshots[session_id] = snapshot
        self._snapshots.move_to_end(session_id)
        self._bytes += snapshot.size
        while self._bytes > self._kept_bytes:
            _, oldest = self._snapshots.popitem(last=False)
            self._bytes -= oldest.size

    def drop(self, session_id: str) -> None:
        """Keep nothing of a session."""
        dropped = self._snapshots.pop(session_id, None)
        if dropped is not None:
            self._bytes -= dropped.size


def render_turn(turn: domain_turns.Turn) -> bytes:
    """A turn as the API shows it."""
    return Turn.model_validate(turn).model_dump_json().encode()


def render_turns(rendered: Iterable[domain_turns.Turn]) -> list[bytes]:
    """Turns as the API shows them."""
    return [render_turn(turn) for turn in rendered]


def render_branch(branch: views.BranchView) -> bytes:
    """A discarded branch as the API shows it."""
    return Branch.model_validate(branch).model_dump_json().encode()
