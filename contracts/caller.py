"""Simulated callers: the input and result of the activity that writes their next message."""

from domain.durable import FrozenModel
from domain.sessions.caller_config import SimulatorConfig, Utterance
from domain.usage import Cost, Money, Usage


class PlayCallerInput(FrozenModel):
    """One line of a caller. `heard` is only what was said since its line before, `anchor_aside_id`.

    It is bought under `aside_id`, which names the turn it answers and the state of the session then.
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
        """Whether it has said as much as it has to."""
        return self.lines >= self.config.min_turns


class PlayCallerResult(FrozenModel):
    """What a caller does: it says `line`, hangs up, or both. `reason` is why it hangs up, in its own words."""

    line: str | None = None
    hangs_up: bool = False
    reason: str = ""
    usage: Usage = Usage()
    cost: Cost = Cost()
    reused: bool = False
