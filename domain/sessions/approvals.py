"""Approvals of tool calls: requests, decisions and expiry."""

from datetime import datetime
from typing import Literal

from domain.rejections import CommandRejected
from domain.sessions.commands import DecideApproval
from domain.sessions.timeline import Timeline, WaitingApproval

Decision = Literal["approved", "denied", "expired"]


def request(timeline: Timeline, approval: WaitingApproval, *, at: datetime) -> Timeline:
    """Add a tool call that waits for approval. This is not a command: the revision does not change."""
    requested = timeline.changed(at=at, accepted=False, approvals=(*timeline.approvals, approval))
    payload = approval.model_dump(mode="json", exclude={"requested_at"})
    return requested.with_fact("approval_requested", at, **payload)


def decide(timeline: Timeline, command: DecideApproval, *, decision: Decision, at: datetime) -> Timeline:
    """Approve or deny a waiting call.

    Raises CommandRejected with `session_ended`, `revision_conflict` or `approval_not_pending`.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    if all(waiting.call_id != command.call_id for waiting in timeline.approvals):
        raise CommandRejected(
            "approval_not_pending",
            f"No tool call {command.call_id} is waiting for approval: it was decided, has expired or does not exist.",
            call_id=command.call_id,
        )
    return _decided(timeline, command.call_id, decision, command.reason, at, accepted=True)


def expire(timeline: Timeline, call_id: str, *, at: datetime) -> Timeline:
    """Expire a waiting call. This is not a command: the revision does not change."""
    return _decided(timeline, call_id, "expired", "", at, accepted=False)


def _decided(
    timeline: Timeline, call_id: str, decision: Decision, reason: str, at: datetime, *, accepted: bool
) -> Timeline:
    waiting = tuple(each for each in timeline.approvals if each.call_id != call_id)
    decided = next(each for each in timeline.approvals if each.call_id == call_id)
    return timeline.changed(at=at, accepted=accepted, approvals=waiting).with_fact(
        "approval_decided", at, call_id=call_id, tool=decided.tool, decision=decision, reason=reason
    )
