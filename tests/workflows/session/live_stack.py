"""The stack of the live state machine: a killable worker, a controlled model, and access to the event loop."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.dev_server import server_program
from store.database.connection import Database
from tests.conftest import PROMPT_TIMERS
from tests.support.provider import ErrorReply, Gate, ModelProvider, ProviderRequest, Reply, ScriptedModel, TextReply
from tests.support.session_stack import SessionStack, replay_all
from tests.workflows.session.killable_worker import killable_worker
from tests.workflows.session.live_comparison import reply_of
from workflows.search_attributes import ALL

EVENTS_PER_RUN = 80
"""Number of events after which the server suggests continue-as-new; a turn takes about a dozen."""
PATIENCE = 60.0
"""Seconds for one command; the worker may just have been killed."""

Result = TypeVar("Result")


class ControlledModel(ScriptedModel):
    """Answers a text as the test says: at once, when its gate opens, or never. The same text gets the same reply."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.gates: dict[str, Gate] = {}
        self.failing: set[str] = set()

    def reply_to(self, asked: ProviderRequest) -> Reply:
        self.journal.append(asked)
        text = [words for role, words in asked.conversation if role == "user"][-1]
        if text in self.failing:
            return ErrorReply(400)
        return TextReply(reply_of(text), gate=self.gates.get(text))


@dataclass
class WorkerProcess:
    """The only worker, in a process of its own."""

    stack: SessionStack
    _process: Any = field(default=None)  # Any: an asynchronous context manager has no public type of its own

    async def start(self) -> None:
        self._process = killable_worker(self.stack.client, self.stack.task_queue, self.stack.database, kill_at=None)
        await self._process.__aenter__()

    async def kill(self) -> None:
        """Kill the worker, whatever it is doing."""
        await self._process.__aexit__(None, None, None)


@dataclass
class LiveStack:
    """The server, the worker and the model of the machine, and the event loop of its sessions."""

    sessions: SessionStack
    provider: ModelProvider
    worker: WorkerProcess
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop, from the thread of the machine."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)


@asynccontextmanager
async def live_stack(database: Database, provider: ModelProvider) -> AsyncIterator[LiveStack]:
    """A server that suggests continue-as-new early, and a worker that can be killed."""
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_program()),
        search_attributes=list(ALL),
        dev_server_log_level="error",
        dev_server_extra_args=[
            *PROMPT_TIMERS,
            *("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={EVENTS_PER_RUN}"),
        ],
        plugins=[PlayheadPlugin()],
    )
    stack = SessionStack.on(server.client, database, f"live-{uuid4().hex[:8]}")
    worker = WorkerProcess(stack)
    await worker.start()
    try:
        yield LiveStack(stack, provider, worker, asyncio.get_running_loop())
        await replay_all(server.client, database, stack.task_queue)
    finally:
        await worker.kill()
        await server.shutdown()


async def outcomes_of(commands: list[Coroutine[Any, Any, Result]]) -> list[Result | BaseException]:
    """The result or the exception of each of several commands sent at once."""
    return list(await asyncio.gather(*commands, return_exceptions=True))


async def all_of(commands: list[Coroutine[Any, Any, Result]]) -> list[Result]:
    return list(await asyncio.gather(*commands))


def code_of(outcome: object) -> str:
    """The error code of a rejected command. Fails when it was accepted."""
    assert isinstance(outcome, WorkflowUpdateFailedError), outcome
    assert isinstance(outcome.cause, ApplicationError)
    return outcome.cause.type or ""


def figures_of(outcome: object, code: str) -> dict[str, int]:
    """The figures of a rejection with this code."""
    assert code_of(outcome) == code
    assert isinstance(outcome, WorkflowUpdateFailedError)
    assert isinstance(outcome.cause, ApplicationError)
    return dict(outcome.cause.details[0]["figures"])
