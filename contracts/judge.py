"""Judgements: the input and result of the activity that judges a session."""

from contracts.sessions import AgentRef
from domain.durable import FrozenModel
from domain.suites.scenario import Scenario
from domain.suites.verdicts import Verdict
from domain.usage import Cost, Money, Usage


class JudgeInput(FrozenModel):
    """One judgement of a session that has ended, bought under `judgement_id` and billed as purpose `judge`.

    The transcript is read from the store: the input does not grow with the conversation. `cut_short` says what kept
    it from coming to its end, if whoever ran it knows that.
    """

    session_id: str
    organization_id: str
    judgement_id: str
    agent: AgentRef
    suite_id: str | None
    scenario: Scenario
    model: str
    seed: int = 0
    timeout: float = 120.0
    cut_short: str | None = None
    price_per_second: Money | None = None


class JudgeResult(FrozenModel):
    """The verdict, and what the judge used and cost (nothing where a scenario has no criteria)."""

    verdict: Verdict
    usage: Usage = Usage()
    cost: Cost = Cost()
    reused: bool = False
