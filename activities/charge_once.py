"""Buying a model's reply once: it is looked up before it is asked for, and saved before anybody hears of it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from activities.llm.interface import ModelAnswer, ProviderFailed, ReplyCancelled
from contracts.sessions import StepHeartbeat
from domain.turns.engine import ModelReply

if TYPE_CHECKING:
    from store.sessions.steps import SavedStep, StepStore

MAX_PROVIDER_FAILURES = 5
"""How often a provider may fail one step before it fails for good."""
MAX_RETRY_AFTER = 300.0
"""Seconds that a provider may ask to be left alone; who asks for more is tried again after these."""
MAX_SAVE_PAUSE = 5.0
"""Seconds between two attempts to save a reply that has been paid for."""

Ask = Callable[[tuple[str, ...]], Awaitable[ModelAnswer]]
"""Asks a model, given the messages of the steps before."""


class CallKey(Protocol):
    """What names a reply: the step of a turn (or of what is billed like one), and the steps before it."""

    @property
    def session_id(self) -> str: ...

    @property
    def organization_id(self) -> str: ...

    @property
    def turn_id(self) -> str: ...

    @property
    def step(self) -> int: ...

    @property
    def anchor_turn_id(self) -> str | None: ...

    @property
    def model(self) -> str: ...

    @property
    def node_id(self) -> str: ...


@dataclass(frozen=True)
class AuxiliaryCallKey:
    """A reply beside the turns, a caller's or a judge's: its aside is to it what a turn is to an agent's reply.

    `node_id` stands for the node at which it is saved among the steps.
    """

    session_id: str
    organization_id: str
    turn_id: str
    node_id: str
    model: str
    step: int = 0
    anchor_turn_id: str | None = None


@dataclass(frozen=True)
class StoredReply:
    """A reply that is paid for. `reused` says that it had been bought before and was only looked up."""

    reply: ModelReply
    reused: bool


class IdempotentCaller:
    """Buys replies for activities that Temporal may run any number of times."""

    def __init__(self, *, steps: "StepStore", context_characters: int) -> None:
        self._steps = steps
        self._context_characters = context_characters

    async def once(self, purchase: CallKey, ask: Ask) -> StoredReply:
        """Buy a reply, unless it was bought before.

        Fails for good, with type `model_failed`, when the provider refuses the request or has failed
        too often; everything else is retried by Temporal. Cancelled by its workflow, it saves and returns what
        the model has said so far, marked `interrupted`; it ends as cancelled when nothing had been asked.
        """
        done = await self._steps.turn_steps(purchase.session_id, purchase.turn_id, purchase.anchor_turn_id)
        for saved in done:
            if saved.step == purchase.step:
                return StoredReply(reply=saved.reply, reused=True)
        async with heartbeats(StepHeartbeat(provider_failures=_provider_failures())):
            history = await self._steps.history(purchase.session_id, purchase.anchor_turn_id, self._context_characters)
            try:
                answer = await ask(tuple(step.messages for step in (*history, *done)))
            except ProviderFailed as failure:
                raise _as_activity_failure(failure) from failure
            except ReplyCancelled as cut:
                if not _is_cancelled_by_its_workflow():
                    raise
                answer = cut.answer
            saved = await _despite_cancellation(self._save(purchase, answer))
        return StoredReply(reply=saved.reply, reused=False)

    async def _save(self, purchase: CallKey, answer: ModelAnswer) -> "SavedStep":
        """Save a reply that has been paid for; a store that is down is waited for rather than paid for again."""
        bought_at = datetime.now(UTC)
        pause = 0.1
        while True:
            try:
                return await self._steps.save(
                    session_id=purchase.session_id,
                    organization_id=purchase.organization_id,
                    turn_id=purchase.turn_id,
                    step=purchase.step,
                    anchor_turn_id=purchase.anchor_turn_id,
                    node_id=purchase.node_id,
                    model=purchase.model,
                    messages=answer.messages,
                    reply=answer.reply,
                    created_at=bought_at,
                )
            except Exception:
                activity.logger.warning("a paid reply could not be saved yet; trying again", exc_info=True)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_SAVE_PAUSE)


async def _despite_cancellation(saving: Coroutine[Any, Any, "SavedStep"]) -> "SavedStep":
    """Save what was paid for, also when its workflow no longer waits for it; only the worker's end ends this."""
    task = asyncio.create_task(saving)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not _is_cancelled_by_its_workflow():
                task.cancel()
                raise
    return task.result()


def _is_cancelled_by_its_workflow() -> bool:
    """Whether the answer is unwanted. Else the worker stops or another attempt has begun, and the call is made anew."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


def _as_activity_failure(failure: ProviderFailed) -> ApplicationError:
    """Count the provider's failures across attempts, and give up for good after the last one."""
    failures = _provider_failures() + 1
    activity.heartbeat(StepHeartbeat(provider_failures=failures))
    final = failure.permanent or failures >= MAX_PROVIDER_FAILURES
    pause = timedelta(seconds=min(failure.retry_after, MAX_RETRY_AFTER)) if failure.retry_after else None
    return ApplicationError(
        str(failure), type="model_failed", non_retryable=final, next_retry_delay=None if final else pause
    )


def _provider_failures() -> int:
    details = activity.info().heartbeat_details
    return StepHeartbeat.model_validate(details[0]).provider_failures if details else 0
