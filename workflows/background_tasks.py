"""The tasks that run beside a workflow's main line, none of which may break unseen."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTasks:
    """Tasks of one workflow. Those that ended well are forgotten."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something done beside the main line."""
        self._tasks = [task for task in self._tasks if not task.done() or _is_broken(task)]
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    @property
    def are_broken(self) -> bool:
        return any(map(_is_broken, self._tasks))

    def surface_errors(self) -> None:
        """Let a broken task fail the workflow task: Temporal shows it and tries again, once it is mended."""
        for task in filter(_is_broken, self._tasks):
            task.result()


def _is_broken(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
