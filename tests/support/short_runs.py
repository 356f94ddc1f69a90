"""Sessions whose runs are short: on one task queue, they end after fewer updates or signals than elsewhere."""

from collections.abc import Callable, Mapping
from types import FunctionType

import pytest
from temporalio import workflow

from workflows.session import workflow as module
from workflows.session.workflow import SessionWorkflow


def shorten_runs(monkeypatch: pytest.MonkeyPatch, task_queue: str, **limits: int) -> None:
    """Change constants of the workflow's module for the sessions on this queue.

    Sessions on other queues continue in the same process, and are replayed with the values that they ran with.
    """
    for method in (SessionWorkflow._is_long, SessionWorkflow._has_many_events):
        if limits.keys() & set(method.__code__.co_names):
            monkeypatch.setattr(SessionWorkflow, method.__name__, _with_limits(method, task_queue, limits))


def _with_limits(
    method: Callable[[SessionWorkflow], bool], task_queue: str, limits: Mapping[str, int]
) -> Callable[[SessionWorkflow], bool]:
    """The method of a session, with other constants for the sessions on the queue."""
    limited = FunctionType(method.__code__, {**vars(module), **limits})

    def answer(session: SessionWorkflow) -> bool:
        return bool(limited(session)) if workflow.info().task_queue == task_queue else method(session)

    return answer
