"""`playhead worker` with short timeouts, so that its work is retried within seconds after it is killed."""

from datetime import timedelta

from playhead.cli.main import app
from playhead.services import worker
from tests.support.deadlock_detector import allow_slow_workflow_tasks
from workflows import activity_options


def main() -> None:
    """Run the worker until it receives a signal to stop."""
    allow_slow_workflow_tasks()
    activity_options.SETTLE_ATTEMPT = timedelta(seconds=4)
    worker.STICKY_TIMEOUT = timedelta(seconds=1)
    app(["worker"])
