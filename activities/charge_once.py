"""Makes a paid model call at most once per step and stores the reply before returning it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.earlier_messages import EarlierMessages
from activities.heartbeats import heartbeats
from activities.llm.interface import ModelAnswer, ProviderFailed, ReplyCancelled
from contracts.sessions import CONTEXT_TOO_LONG, StepHeartbeat
from domain.turns.call_digest import digest_of
from domain.turns.engine import ModelReply
from domain.turns.model_request import KeptRequest, SentRequest, digest_of_request, saved_messages

if TYPE_CHECKING:
    from store.sessions.steps import SavedStep, StepStore

MAX_PROVIDER_FAILURES = 5
"""Failures of the provider after which a step is not retried any more."""
MAX_RETRY_AFTER_SECONDS = 300.0
"""Upper bound on a provider's `retry-after`; a longer one is cut to this."""
MAX_SAVE_BACKOFF_SECONDS = 5.0
"""Upper bound on the pause between two attempts to save a paid reply."""

CallModel = Callable[[EarlierMessages], Awaitable[ModelAnswer]]
"""Calls a model with the messages of the earlier steps, or with those of them that it needs."""


class CallKey(Protocol):
    """The key under which a reply is stored.

    `digest` identifies the content of the request, `after` is the digest of the step before; None means the newest step
    of the turn `follows_turn_id`. Turn, step and node say what the call is for.
    """

    @property
    def follows_turn_id(self) -> str | None: ...

    @property
    def digest(self) -> str: ...

    @property
    def after(self) -> str | None: ...

    @property
    def session_id(self) -> str: ...

    @property
    def organization_id(self) -> str: ...

    @property
    def turn_id(self) -> str: ...

    @property
    def step(self) -> int: ...

    @property
    def model(self) -> str: ...

    @property
    def node_id(self) -> str: ...


@dataclass(frozen=True)
class AuxiliaryCallKey:
    """The key of an auxiliary model call, made for a simulated user, a summary or a judge rather than for a turn.

    `turn_id` is the id of the auxiliary call, `node_id` a fixed name in place of a node's id.
    """

    session_id: str
    organization_id: str
    turn_id: str
    node_id: str
    model: str
    asked: str
    """The content of the request, in a form that is equal for equal requests."""
    step: int = 0
    follows_turn_id: str | None = None

    @property
    def digest(self) -> str:
        return self._digest_of_step(self.step)

    @property
    def after(self) -> str | None:
        return self._digest_of_step(self.step - 1) if self.step else None

    def _digest_of_step(self, step: int) -> str:
        return digest_of(self.turn_id, self.node_id, self.model, self.asked, str(step))


@dataclass(frozen=True)
class StoredReply:
    """A paid and stored reply. `reused` is true when an earlier attempt had paid for it.

    `earlier` are the messages that were sent along, None when the reply is reused.
    """

    reply: ModelReply
    reused: bool
    earlier: EarlierMessages | None = None


class IdempotentCaller:
    """Makes model calls idempotent for activities that Temporal may run any number of times."""

    def __init__(self, *, steps: "StepStore") -> None:
        self._steps = steps

    async def call(self, key: CallKey, call_model: CallModel) -> StoredReply:
        """Return the stored reply of this key, or call the model and store its reply.

        Raises a non-retryable ApplicationError of type `model_failed` when the provider rejects the request or has
        failed too often, of type `context_too_long` when the request is too long for the model without any earlier
        turn; Temporal retries every other error. When the workflow cancels the activity, the partial
        reply is saved and returned, marked `interrupted`; without a request to the provider the activity is cancelled.
        """
        turn = await self._steps.turn_steps(key.session_id, key.turn_id, after=key.after, newest_of=key.follows_turn_id)
        stored = turn.find(key.digest)
        if stored is not None:
            return StoredReply(reply=stored.reply, reused=True)
        async with heartbeats(StepHeartbeat(provider_failures=_provider_failures())):
            earlier = EarlierMessages(self._steps, key.session_id, key.model, turn)
            try:
                answer = await _finish_despite_pause(_call_within_window(call_model, earlier))
            except ProviderFailed as failure:
                raise _model_failed(failure) from failure
            except ReplyCancelled as cancelled:
                if not is_cancel_requested():
                    raise
                answer = cancelled.answer
            request = _request_of(answer, earlier)
            saved = await _finish_despite_cancellation(self._save(key, turn.after, answer, request))
        return StoredReply(reply=saved.reply, reused=False, earlier=earlier)

    async def _save(self, key: CallKey, after: str, answer: ModelAnswer, request: KeptRequest | None) -> "SavedStep":
        """Save a paid reply, retrying while the store is down: a failed activity would pay for the reply again."""
        created_at = datetime.now(UTC)
        pause = 0.1
        while True:
            try:
                return await self._steps.save(
                    session_id=key.session_id,
                    organization_id=key.organization_id,
                    digest=key.digest,
                    after=after,
                    turn_id=key.turn_id,
                    step=key.step,
                    node_id=key.node_id,
                    model=key.model,
                    messages=answer.messages,
                    reply=answer.reply,
                    created_at=created_at,
                    request=request,
                )
            except Exception:
                activity.logger.warning("a paid reply could not be saved yet; trying again", exc_info=True)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_SAVE_BACKOFF_SECONDS)


async def _call_within_window(call_model: CallModel, earlier: EarlierMessages) -> ModelAnswer:
    """Call the model; if it rejects the request as too long, leave out more of the earlier turns and call again.

    The provider charges nothing for a rejected request.
    """
    while True:
        try:
            return await call_model(earlier)
        except ProviderFailed as failure:
            if not failure.too_long or not await earlier.shrink():
                raise


def _request_of(answer: ModelAnswer, earlier: EarlierMessages) -> KeptRequest | None:
    """The record of the request, with its frame only if no step that was read has the same one."""
    frame, cut, past = answer.frame, earlier.cut, earlier.steps
    if frame is None or cut is None:
        return None
    own = saved_messages(answer.messages)[: answer.new]
    sent = SentRequest(
        digest=digest_of_request(frame, [step.messages for step in past], own),
        new=answer.new,
        budget=earlier.budget,
        attempts=activity.info().attempt,
        turns=cut.turns,
        left_out=cut.left_out,
        size=earlier.size,
        tokens=cut.tokens,
        max_tokens=earlier.limit,
        counted_by=cut.counted_by,
        summary=earlier.summary.point.digest if earlier.summary else None,
        summary_turn_id=earlier.summary.point.turn_id if earlier.summary else None,
    )
    is_known = any(step.frame_digest == frame.digest for step in past)
    return KeptRequest(sent, frame.digest, None if is_known else frame)


async def _finish_despite_cancellation(saving: Coroutine[Any, Any, "SavedStep"]) -> "SavedStep":
    """Finish saving a paid reply although the activity is cancelled for any reason; only a worker shutdown stops it."""
    task = asyncio.create_task(saving)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if _is_worker_shutdown():
                task.cancel()
                raise
    return task.result()


async def _finish_despite_pause(calling: Awaitable[ModelAnswer]) -> ModelAnswer:
    """Finish a model call although an operator paused or reset the activity: the provider is paid for it anyway."""
    task = asyncio.ensure_future(calling)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not _is_paused_or_reset():
                task.cancel()
    return task.result()


def is_cancel_requested() -> bool:
    """True when the workflow cancelled the activity, rather than a worker shutdown or a newer attempt."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


def _is_paused_or_reset() -> bool:
    """True when an operator paused or reset the activity and nothing else has cancelled it."""
    details = activity.cancellation_details()
    if details is None or details.cancel_requested or details.worker_shutdown or details.timed_out:
        return False
    return details.paused or details.reset


def _is_worker_shutdown() -> bool:
    """True when the activity is cancelled because its worker stops, or for no reason that is known."""
    details = activity.cancellation_details()
    return details is None or details.worker_shutdown


def _model_failed(failure: ProviderFailed) -> ApplicationError:
    """The activity's error, non-retryable for a permanent failure and after the last allowed one.

    Failures are counted across attempts, in the heartbeat details.
    """
    failures = _provider_failures() + 1
    activity.heartbeat(StepHeartbeat(provider_failures=failures))
    final = failure.permanent or failures >= MAX_PROVIDER_FAILURES
    pause = timedelta(seconds=min(failure.retry_after, MAX_RETRY_AFTER_SECONDS)) if failure.retry_after else None
    return ApplicationError(
        str(failure),
        type=CONTEXT_TOO_LONG if failure.too_long else "model_failed",
        non_retryable=final,
        next_retry_delay=None if final else pause,
    )


def _provider_failures() -> int:
    details = activity.info().heartbeat_details
    return StepHeartbeat.model_validate(details[0]).provider_failures if details else 0
