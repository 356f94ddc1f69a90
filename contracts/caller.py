"""Simulated users: the input and result of the activities that generate their next message."""

from domain.durable import FrozenModel
from domain.sessions.caller_config import SimulatorConfig, Utterance
from domain.turns.call_digest import digest_of
from domain.usage import Cost, Money, Usage


class PlayCallerInput(FrozenModel):
    """Input for one message of a simulated user.

    `new_utterances` are the messages since its previous model call, `previous_call_id`. `call_id` is the idempotency
    key of this call: it identifies the turn that is answered and the state of the session. `lines` counts the
    messages it has sent so far.
    """

    session_id: str
    organization_id: str
    call_id: str
    previous_call_id: str | None
    config: SimulatorConfig
    model: str
    lines: int
    new_utterances: tuple[Utterance, ...]
    timeout: float = 120.0
    price_per_second: Money | None = None

    @property
    def may_hang_up(self) -> bool:
        """True once the minimum number of messages has been sent."""
        return self.lines >= self.config.min_turns

    @property
    def digest(self) -> str:
        """A digest of the whole input."""
        return digest_of(self.model_dump_json())


class PlayCallerResult(FrozenModel):
    """The action of a simulated user: it sends `line`, hangs up, or both. `reason` is its own reason to hang up."""

    line: str | None = None
    hangs_up: bool = False
    reason: str = ""
    usage: Usage = Usage()
    cost: Cost = Cost()
    reused: bool = False


class NextLine(FrozenModel):
    """A simulated user's message, to be generated in the same activity as the reply that it answers.

    `asked` is its input without that reply. If the reply costs `cost_left` or more, no message is generated: the
    session ends.
    """

    asked: PlayCallerInput
    cost_left: Money | None = None

    def after(self, reply: str) -> PlayCallerInput:
        """The input with the reply."""
        utterances = (*self.asked.new_utterances, Utterance(by="agent", text=reply))
        return self.asked.model_copy(update={"new_utterances": utterances})


class GeneratedLine(FrozenModel):
    """A message of a simulated user that was generated along with the reply it answers.

    `digest` is that of its complete input, and `seconds` the time since the reply.
    """

    call_id: str
    digest: str
    result: PlayCallerResult
    seconds: float
