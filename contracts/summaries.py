"""Summaries of long conversations: the input and result of the activity that writes one."""

from contracts.sessions import AgentRef
from domain.durable import FrozenModel
from domain.usage import Cost, Money, Usage


class SummarizeTurnsInput(FrozenModel):
    """Input for the summary of a branch up to the step `digest`, the last one of the turn `turn_id`.

    `call_id` is the id under which it is stored and billed, `model` the model of the session.
    """

    session_id: str
    organization_id: str
    call_id: str
    turn_id: str
    digest: str
    agent: AgentRef
    model: str
    timeout: float = 120.0
    price_per_second: Money | None = None


class SummarizeTurnsResult(FrozenModel):
    """Usage and cost of a summary. `is_usable` is false if the model wrote nothing, or was stopped."""

    usage: Usage = Usage()
    cost: Cost = Cost()
    is_usable: bool = False
    reused: bool = False
