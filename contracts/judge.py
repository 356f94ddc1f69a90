"""Judging: the input and result of the activity that judges a session."""

from datetime import datetime

from contracts.sessions import AgentRef
from contracts.suites import RecordRunInput, RunPrice
from domain.durable import FrozenModel
from domain.suites.scenario import Scenario
from domain.suites.suite_state import Run
from domain.suites.verdicts import Verdict
from domain.usage import Cost, Money, Usage


class JudgeInput(FrozenModel):
    """Input for one judgement of an ended session; `judgement_id` is its idempotency key, its purpose is `judge`.

    The activity reads the transcript from the store, so the input does not grow with the conversation. `cut_short` is
    the reason why the conversation did not end normally, if the starter of the run knows one. With `run`, the verdict
    is recorded at once as the outcome of that run of the suite.
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
    run: Run | None = None


class JudgeResult(FrozenModel):
    """The verdict, and the usage and cost of the judge (zero for a scenario without criteria).

    `price` is the cost of the run if its outcome was recorded; None otherwise, as when the judge's model call failed.
    """

    verdict: Verdict
    usage: Usage = Usage()
    cost: Cost = Cost()
    reused: bool = False
    price: RunPrice | None = None


def recorded_outcome(input: JudgeInput, verdict: Verdict, at: datetime) -> RecordRunInput | None:
    """The record of the judged run's outcome; None if no run of a suite was judged."""
    if input.suite_id is None or input.run is None:
        return None
    return RecordRunInput(
        suite_id=input.suite_id,
        run=input.run,
        session_id=input.session_id,
        organization_id=input.organization_id,
        verdict=verdict,
        at=at,
    )
