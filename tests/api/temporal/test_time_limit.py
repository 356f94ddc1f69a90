"""Commands that their workflow cannot process: the error names the obstacle, for sessions and suites."""

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from api.http.problems import Problem
from api.temporal.errors import UNPROCESSED
from api.temporal.obstacles import Obstacle
from api.temporal.time_limit import time_limit


@pytest.mark.parametrize("workflow_id", ["session-ses_0", "suite-sui_0"])
async def test_a_worker_that_is_ahead_is_named(client: Client, workflow_id: str) -> None:
    with pytest.raises(Problem) as refused:
        async with time_limit(client, workflow_id, 5.0):
            raise WorkflowUpdateFailedError(ApplicationError("not processed", type=UNPROCESSED))
    assert (refused.value.code, refused.value.figures["reason"]) == ("session_stuck", "worker_is_ahead")


@pytest.mark.parametrize(("workflow_id", "subject"), [("session-ses_0", "session"), ("suite-sui_0", "suite")])
def test_an_obstacle_names_its_subject(workflow_id: str, subject: str) -> None:
    failing = Obstacle("workflow_task_failed", "KeyError: 'desk'", workflow_id, "run", attempt=4).problem()
    assert failing.detail.startswith(f"The {subject}'s workflow fails, at attempt 4: KeyError: 'desk'.")
    paused = Obstacle("workflow_paused", "", workflow_id, "run").problem()
    assert f"paused the {subject}'s workflow" in paused.detail
