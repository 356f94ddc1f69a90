"""A longer limit for the SDK's deadlock detector, for workers of tests on a busy machine."""

import inspect

from temporalio.worker import _workflow

LIMIT_SECONDS = 30
"""A real deadlock still fails the workflow task, before the test's own timeout."""
_ATTRIBUTE = "_deadlock_timeout_seconds"


def allow_slow_workflow_tasks() -> None:
    """Raise the detector's limit from two seconds to `LIMIT_SECONDS`, for every worker and replayer of this process.

    The time runs from the moment a task is handed to a thread, so it includes waiting for a processor. On a busy
    machine that is more than two seconds: the task fails, its thread is interrupted, and the work begins again.
    The SDK has no option for it but `debug_mode`, which also moves workflow tasks onto the event loop. Production
    keeps two seconds: a task that fails there is only tried again.

    Raises AssertionError when the SDK no longer keeps its limit in this attribute.
    """
    worker = _workflow._WorkflowWorker
    assert f"self.{_ATTRIBUTE}" in inspect.getsource(worker.__init__), "the SDK keeps its limit elsewhere now"
    setattr(worker, _ATTRIBUTE, property(lambda _self: LIMIT_SECONDS, lambda _self, _value: None))
