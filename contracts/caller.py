"""Simulated users: the input and result of the activity that generates their next message."""

from domain.durable import FrozenModel
from domain.sessions.caller_config import SimulatorConfig, Utterance
from domain.usage import Cost, Money, Usage


class PlayCallerInput(FrozenModel):
    """Input for one message of a simulated user.

    `heard` contains only the messages since its previous model call, `anchor_aside_id`. `aside_id` is the idempotency
    key of this call: it identifies the turn that is answered and the state of the session. `lines` counts the
    messages it has sent so far.
    """

    session_id: str
    organization_id: str
    aside_id: str
    anchor_aside_id: str | None
    config: SimulatorConfig
    model: str
    lines: int
    heard: tuple[Utterance, ...]
    timeout: float = 120.0
    price_per_second: Money | None = None

    @property
    def may_hang_up(self) -> bool:
        """True once the minimum number of messages has been sent."""
        return self.lines >= self.config.min_turns


class PlayCallerResult(FrozenModel):
    """The action of a simulated user: it sends `line`, hangs up, or both. `reason` is its own reason to hang up."""

    line: str | None = None
    hangs_up: bool = False
    reason: str = ""
    usage: Usage = Usage()
    cost: Cost = Cost()
    reused: bool = False
