"""The chat's view of a session: its last known state, and its turns by number."""

from datetime import datetime

from domain.durable import FrozenModel
from domain.turns.turn import SessionStatus, Turn
from domain.usage import Cost, Usage

DEMO_USAGE_KEY = "demo:"
"""Prefix of the usage keys of the offline demo model."""


class ChatBranch(FrozenModel):
    """A discarded branch. Its turns are listed oldest first."""

    id: str
    rewound_from_turn_id: str | None
    discarded_at: datetime
    turns: tuple[Turn, ...] = ()


class ChatAgent(FrozenModel):
    """An agent version. `model` is None when the agent uses the server's default."""

    name: str
    version: int
    model: str | None = None
    transition_tools: frozenset[str] = frozenset()
    """Names of the tools that stand for transitions in model calls."""


def number_of(turn: Turn) -> int:
    """The number of a turn as shown to people: the greeting is 1."""
    return turn.index + 1


class ChatSession(FrozenModel):
    """One state of a session. `model` is None when the API does not return it."""

    id: str
    agent_id: str
    agent_version: int
    name: str = ""
    model: str | None = None
    status: SessionStatus
    revision: int
    cursor_turn_id: str | None = None
    current_node_id: str | None = None
    is_completed: bool = False
    completion_reason: str | None = None
    usage: Usage = Usage()
    cost: Cost = Cost()
    turns: tuple[Turn, ...] = ()
    discarded_branches: tuple[ChatBranch, ...] = ()

    @property
    def newest(self) -> Turn | None:
        """The newest visible turn; None when the session was rewound to before its first."""
        return self.turns[-1] if self.turns else None

    @property
    def is_rewound(self) -> bool:
        return self.status == "rewound"

    @property
    def is_answering(self) -> bool:
        """True if a reply is pending. Before the first turn that is the greeting."""
        if self.newest is None:
            return not (self.is_rewound or self.is_completed)
        return self.newest.status == "pending"

    @property
    def used_demo_model(self) -> bool:
        """True if any reply came from the offline demo model."""
        return any(model.startswith(DEMO_USAGE_KEY) for model in self.usage.llm)

    def turn_numbered(self, number: int) -> Turn | None:
        """The visible turn with this number, if it is among those the API lists."""
        return next((turn for turn in self.turns if number_of(turn) == number), None)

    def turn_of(self, message_id: str) -> Turn | None:
        """The visible turn of a message."""
        return next(
            (t for t in reversed(self.turns) if t.user_message and t.user_message.message_id == message_id), None
        )

    def turns_since(self, earlier: "ChatSession") -> tuple[Turn, ...]:
        """The visible turns that are new since an earlier state, or have another status than there."""
        known = {turn.id: turn.status for turn in earlier.turns}
        return tuple(turn for turn in self.turns if known.get(turn.id) != turn.status)
