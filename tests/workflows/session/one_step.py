"""A workflow that runs one step and cancels it on request, as a session does."""

import asyncio
from datetime import timedelta
from typing import Literal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.model import ModelActivities
    from contracts.sessions import GenerateStepInput, GenerateStepResult, Timing
    from domain.turns.engine import ExtractionResult
    from workflows.activity_options import model_call_options

PATIENT = Timing(heartbeat=120.0, retry_initial=0.05, retry_maximum=0.2)
"""A heartbeat timeout so long that a cancellation that waited for it would be too late for any test."""


@workflow.defn
class OneStep:
    """Generates a reply or extracts variables, and returns the result of the activity, also after a cancellation."""

    def __init__(self) -> None:
        self._is_cancelled = False

    @workflow.run
    async def run(self, kind: Literal["reply", "variables"], input: GenerateStepInput) -> str:
        """The result of the step, as JSON."""
        step: asyncio.Task[GenerateStepResult] | asyncio.Task[ExtractionResult]
        options = model_call_options(PATIENT)
        if kind == "reply":
            step = workflow.start_activity_method(ModelActivities.generate_step, input, **options)
        else:
            step = workflow.start_activity_method(ModelActivities.extract_variables, input, **options)
        await workflow.wait_condition(lambda: self._is_cancelled or step.done(), timeout=timedelta(minutes=5))
        if self._is_cancelled:
            step.cancel()
        return (await step).model_dump_json()

    @workflow.signal
    def cancel(self) -> None:
        """Cancel the step."""
        self._is_cancelled = True
