"""Tasks that run beside the main coroutine of a workflow. None of them fails unnoticed."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTasks:
    """Tasks of one workflow. Those that ended without an error are dropped."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task beside the main coroutine."""
        self._tasks = [task for task in self._tasks if not task.done() or _is_broken(task)]
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    @property
    def are_broken(self) -> bool:
        return any(map(_is_broken, self._tasks))

    def surface_errors(self) -> None:
        """Fail the workflow task with the error of a broken task: Temporal shows it, and retries until it is fixed."""
        for task in filter(_is_broken, self._tasks):
            task.result()


def _is_broken(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
