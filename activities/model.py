"""One step of a turn: a model call that is bought once, however often the activity runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.agent import AgentDefinition, Transition
from domain.contracts import GenerateStepInput, GenerateStepResult, StepHeartbeat
from domain.engine import ModelReply, instructions_at
from domain.turns import Message

if TYPE_CHECKING:
    from store.agents import AgentStore
    from store.steps import SavedStep, StepStore

MOST_PROVIDER_FAILURES = 5
"""How often a provider may fail one step before the turn fails."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds that a provider may ask to be left alone; who asks for more is tried again after these."""
HEARTBEATS_PER_TIMEOUT = 4
"""A worker reports this often within the time after which it counts as dead."""
LONGEST_SAVE_PAUSE = 5.0
"""Seconds between two attempts to save a reply that has been paid for."""


@dataclass(frozen=True)
class ModelCall:
    """What a model is asked: the node's instructions, the branch so far, what is new, and the ways out."""

    model: str
    instructions: str
    history: tuple[str, ...]
    """Messages of earlier steps, oldest first, each as the provider edge serialised it."""
    messages: tuple[Message, ...]
    transitions: tuple[Transition, ...]
    timeout: float
    """Seconds the whole reply may take."""


@dataclass(frozen=True)
class ModelAnswer:
    """What came back, and the messages of this call as the provider edge wants to read them again."""

    reply: ModelReply
    messages: str


class ModelCaller(Protocol):
    """The edge to the providers: one call, one answer, no retries."""

    async def call(self, call: ModelCall) -> ModelAnswer:
        """Ask the model. Raises `ProviderFailed`."""
        ...


class ProviderFailed(Exception):
    """A provider did not answer, or not usefully. `retry_after` is in seconds, when the provider named a time."""

    def __init__(self, message: str, *, permanent: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


class ModelActivities:
    """Buys model replies: looks up what was bought before, and saves what it buys before it reports back."""

    def __init__(
        self, *, steps: "StepStore", agents: "AgentStore", caller: ModelCaller, context_characters: int
    ) -> None:
        self._steps = steps
        self._agents = agents
        self._caller = caller
        self._context_characters = context_characters

    @activity.defn
    async def generate_step(self, input: GenerateStepInput) -> GenerateStepResult:
        """Answer one step, from the store if it has been bought before.

        Fails for good, with type `model_failed`, when the provider refuses the request or has failed
        too often; everything else is retried by Temporal.
        """
        done = await self._steps.turn_steps(input.session_id, input.turn_id, input.anchor_turn_id)
        for saved in done:
            if saved.step == input.step:
                return GenerateStepResult(reply=saved.reply, reused=True)
        async with _heartbeats():
            answer = await self._buy(input, earlier=done)
            saved = await self._save(input, answer)
        return GenerateStepResult(reply=saved.reply)

    async def _buy(self, input: GenerateStepInput, earlier: "tuple[SavedStep, ...]") -> ModelAnswer:
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        history = await self._steps.history(input.session_id, input.anchor_turn_id, self._context_characters)
        try:
            return await self._caller.call(_call(input, definition, (*history, *earlier)))
        except ProviderFailed as failure:
            raise _as_activity_failure(failure) from failure

    async def _save(self, input: GenerateStepInput, answer: ModelAnswer) -> "SavedStep":
        """Save a reply that has been paid for; a store that is down is waited for rather than paid for again."""
        bought_at = datetime.now(UTC)
        pause = 0.1
        while True:
            try:
                return await self._steps.save(
                    session_id=input.session_id,
                    organization_id=input.organization_id,
                    turn_id=input.turn_id,
                    step=input.step,
                    anchor_turn_id=input.anchor_turn_id,
                    node_id=input.node_id,
                    model=input.model,
                    messages=answer.messages,
                    reply=answer.reply,
                    created_at=bought_at,
                )
            except Exception:
                activity.logger.warning("a paid reply could not be saved yet; trying again", exc_info=True)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_SAVE_PAUSE)


def _call(input: GenerateStepInput, definition: AgentDefinition, history: "tuple[SavedStep, ...]") -> ModelCall:
    return ModelCall(
        model=input.model,
        instructions=instructions_at(definition, input.node_id, input.context),
        history=tuple(step.messages for step in history),
        messages=input.messages,
        transitions=definition.nodes[input.node_id].transitions,
        timeout=input.timeout,
    )


def _as_activity_failure(failure: ProviderFailed) -> ApplicationError:
    """Count the provider's failures across attempts, and give up for good after the last one."""
    failures = _provider_failures() + 1
    activity.heartbeat(StepHeartbeat(provider_failures=failures))
    final = failure.permanent or failures >= MOST_PROVIDER_FAILURES
    pause = timedelta(seconds=min(failure.retry_after, LONGEST_RETRY_AFTER)) if failure.retry_after else None
    return ApplicationError(
        str(failure), type="model_failed", non_retryable=final, next_retry_delay=None if final else pause
    )


def _provider_failures() -> int:
    details = activity.info().heartbeat_details
    return StepHeartbeat.model_validate(details[0]).provider_failures if details else 0


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    """Tell Temporal while the block runs that this worker lives; that is also how a cancellation arrives."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    failures = StepHeartbeat(provider_failures=_provider_failures())

    async def beat() -> None:
        while True:
            # Pause first: most replies are there before anybody would wonder, and a beat is a call to the server.
            await asyncio.sleep(timeout.total_seconds() / HEARTBEATS_PER_TIMEOUT)
            activity.heartbeat(failures)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
