"""Tool calls that wait for a person: what is asked, who may answer when, and what silence means."""

from datetime import datetime
from typing import Literal

from domain.rejections import CommandRejected
from domain.sessions.commands import DecideApproval
from domain.sessions.timeline import Timeline, WaitingApproval

Decision = Literal["approved", "denied", "expired"]


def request(timeline: Timeline, approval: WaitingApproval, *, at: datetime) -> Timeline:
    """Have a tool call wait for a person. Nobody commanded it: the revision stays."""
    return timeline.changed(at=at, accepted=False, approvals=(*timeline.approvals, approval))


def decide(timeline: Timeline, command: DecideApproval, *, decision: Decision, at: datetime) -> Timeline:
    """Answer for a call that waits.

    Raises CommandRejected with `session_ended`, `revision_conflict` or `approval_not_pending`.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    if all(waiting.call_id != command.call_id for waiting in timeline.approvals):
        raise CommandRejected(
            "approval_not_pending",
            f"No tool call {command.call_id} waits for an approval: it was decided, has expired or never was.",
            call_id=command.call_id,
        )
    return _decided(timeline, command.call_id, decision, command.reason, at, accepted=True)


def expire(timeline: Timeline, call_id: str, *, at: datetime) -> Timeline:
    """Let a call go unanswered. Nobody commanded it: the revision stays."""
    return _decided(timeline, call_id, "expired", "", at, accepted=False)


def _decided(
    timeline: Timeline, call_id: str, decision: Decision, reason: str, at: datetime, *, accepted: bool
) -> Timeline:
    waiting = tuple(each for each in timeline.approvals if each.call_id != call_id)
    decided = next(each for each in timeline.approvals if each.call_id == call_id)
    return timeline.changed(at=at, accepted=accepted, approvals=waiting).with_fact(
        "approval_decided", at, call_id=call_id, tool=decided.tool, decision=decision, reason=reason
    )
