"""The room of the live machine: a worker that can be killed, an obedient model, and a way onto the loop."""

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
from tests.support.provider import Asked, Gate, ModelProvider, Refuses, Reply, Says, ScriptedModel
from tests.support.sandbox import sandboxed
from tests.support.stage import Stage, replay_all
from tests.workflows.session.doomed_worker import doomed_worker
from tests.workflows.session.live_comparison import reply_of
from workflows.search_attributes import ALL

EVENTS_PER_RUN = 80
"""After so many events the server of the room suggests to continue as new; a turn takes about a dozen."""
PATIENCE = 60.0
"""Seconds for one command; the worker may have just been killed."""

Result = TypeVar("Result")


class ObedientModel(ScriptedModel):
    """Answers a text as the test wants: at once, when it is let go, or never. It always says the same to the same."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.gates: dict[str, Gate] = {}
        self.failing: set[str] = set()

    def reply_to(self, asked: Asked) -> Reply:
        self.journal.append(asked)
        text = [words for role, words in asked.conversation if role == "user"][-1]
        if text in self.failing:
            return Refuses(400)
        return Says(reply_of(text), gate=self.gates.get(text))


@dataclass
class Crew:
    """The one worker there is, in a process of its own."""

    stage: Stage
    _living: Any = field(default=None)  # Any: an asynchronous context manager has no public type of its own

    async def start(self) -> None:
        self._living = doomed_worker(self.stage.client, self.stage.task_queue, self.stage.database, dies=None)
        await self._living.__aenter__()

    async def kill(self) -> None:
        """Let the worker die in the middle of whatever it does."""
        await self._living.__aexit__(None, None, None)


@dataclass
class Room:
    """Where the machine's sessions are held, and the loop that they are held on."""

    stage: Stage
    provider: ModelProvider
    crew: Crew
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something on the loop, from the thread of the machine."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)


@asynccontextmanager
async def open_room(database: Database, provider: ModelProvider) -> AsyncIterator[Room]:
    """A server that finds a history long soon, and a worker that can be killed."""
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_program()),
        search_attributes=list(ALL),
        dev_server_log_level="error",
        dev_server_extra_args=[
            *PROMPT_TIMERS,
            *("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={EVENTS_PER_RUN}"),
        ],
        plugins=[PlayheadPlugin(sandboxed())],
    )
    stage = Stage.on(server.client, database, f"live-{uuid4().hex[:8]}")
    crew = Crew(stage)
    await crew.start()
    try:
        yield Room(stage, provider, crew, asyncio.get_running_loop())
        await replay_all(server.client, database, stage.task_queue)
    finally:
        await crew.kill()
        await server.shutdown()


async def outcomes_of(commands: list[Coroutine[Any, Any, Result]]) -> list[Result | BaseException]:
    """What each of several commands gives or raises, all sent at once."""
    return list(await asyncio.gather(*commands, return_exceptions=True))


async def all_of(commands: list[Coroutine[Any, Any, Result]]) -> list[Result]:
    return list(await asyncio.gather(*commands))


def code_of(outcome: object) -> str:
    """The code with which a command was refused. Fails when it was not."""
    assert isinstance(outcome, WorkflowUpdateFailedError), outcome
    assert isinstance(outcome.cause, ApplicationError)
    return outcome.cause.type or ""


def figures_of(outcome: object, code: str) -> dict[str, int]:
    """The figures of a refusal with this code."""
    assert code_of(outcome) == code
    assert isinstance(outcome, WorkflowUpdateFailedError)
    assert isinstance(outcome.cause, ApplicationError)
    return dict(outcome.cause.details[0]["figures"])
