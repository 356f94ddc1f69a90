"""The time limit of a command to a workflow. It ends early when the workflow cannot process the command."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError

from api.http.problems import Problem
from api.temporal.errors import WaitTimedOut, translate_temporal_errors
from api.temporal.obstacles import obstacle_of

LOOKS_FOR_OBSTACLES: Final = (5.0, 15.0)
"""Pauses before the first and the second check that the workflow of a command can continue, in seconds."""


@asynccontextmanager
async def time_limit(client: Client, workflow_id: str, seconds: float) -> AsyncIterator[None]:
    """Limit the time of a command, and translate its errors.

    Raises Problem("session_stuck") when the workflow cannot process it for a reason that Temporal knows, without
    waiting for the end of that time.
    """
    try:
        with translate_temporal_errors():
            async with asyncio.timeout(seconds) as limit:
                looking = asyncio.create_task(_give_up_when_stuck(client, workflow_id, limit))
                try:
                    yield
                finally:
                    looking.cancel()
    except (WaitTimedOut, Problem, RPCError, WorkflowUpdateFailedError, ValueError) as error:
        if isinstance(error, Problem) and error.code != "unavailable":
            raise
        obstacle = await obstacle_of(client, workflow_id)
        if obstacle is not None:
            raise obstacle.problem() from error
        raise


async def _give_up_when_stuck(client: Client, workflow_id: str, limit: asyncio.Timeout) -> None:
    """End the wait for a command early when its workflow is stuck; most commands are done before the first check."""
    for pause in LOOKS_FOR_OBSTACLES:
        await asyncio.sleep(pause)
        if await obstacle_of(client, workflow_id) is not None:
            limit.reschedule(asyncio.get_running_loop().time())
            return
