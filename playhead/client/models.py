"""What the client gives back: the API's own representations, so that neither side can mean something else by a field.

Fields that a newer API adds are ignored; an answer that this version cannot read at all raises `UnexpectedResponse`.
"""

from datetime import datetime

from api.schemas.events import ReplyDelta, ReplyReset, TurnClosed, TurnStarted
from api.schemas.responses import (
    Accepted,
    Agent,
    Approval,
    Branch,
    Comparison,
    ComparisonSide,
    Cost,
    LedgerRow,
    OrganizationUsage,
    Representation,
    SessionSummary,
    Turn,
    TurnEvent,
    Usage,
)
from api.schemas.responses import Session as SessionRepresentation
from api.schemas.suites import RunReport, Suite, SuiteReport, SuiteSummary

__all__ = [
    "Accepted",
    "Agent",
    "Approval",
    "Branch",
    "Comparison",
    "ComparisonSide",
    "Cost",
    "Happened",
    "LedgerRow",
    "OrganizationUsage",
    "ReplyDelta",
    "ReplyReset",
    "RunReport",
    "Session",
    "SessionSummary",
    "Suite",
    "SuiteReport",
    "SuiteSummary",
    "Turn",
    "TurnClosed",
    "TurnEvent",
    "TurnStarted",
    "Usage",
]


class Happened(Representation, extra="allow"):
    """Something else that happened; its other members are in `model_extra`, as docs/events.md names them."""

    turn_id: str | None = None
    created_at: datetime


class Session(SessionRepresentation):
    """A session with its visible turns, oldest first, and what is asked of them most."""

    @property
    def newest(self) -> Turn | None:
        """The newest turn that is seen; none when the session was rewound to before its first."""
        return self.turns[-1] if self.turns else None

    @property
    def reply(self) -> str | None:
        """What the agent said in the newest turn; none while that turn is pending, and when it failed."""
        message = self.newest.assistant_message if self.newest else None
        return message.text if message else None

    def turn_of(self, message_id: str) -> Turn | None:
        """The visible turn that a message opened."""
        return next(
            (turn for turn in reversed(self.turns) if turn.user_message and turn.user_message.message_id == message_id),
            None,
        )
