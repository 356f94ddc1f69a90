"""Judging: the input and result of the activity that judges a session."""

from contracts.sessions import AgentRef
from domain.durable import FrozenModel
from domain.suites.scenario import Scenario
from domain.suites.verdicts import Verdict
from domain.usage import Cost, Money, Usage


class JudgeInput(FrozenModel):
    """Input for one judgement of an ended session; `judgement_id` is its idempotency key, its purpose is `judge`.

    The activity reads the transcript from the store, so the input does not grow with the conversation. `cut_short` is
    the reason why the conversation did not end normally, if the starter of the run knows one.
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
    """The verdict, and the usage and cost of the judge (zero for a scenario without criteria)."""

    verdict: Verdict
    usage: Usage = Usage()
    cost: Cost = Cost()
    reused: bool = False
