"""Named timeouts and retry policies of the activities that workflows schedule."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

from contracts.sessions import Timing

STEP_ATTEMPT = timedelta(hours=1)
"""One attempt at a step: the model call has a timeout of its own, the rest is for a store that is down."""
SETTLE_ATTEMPT = timedelta(seconds=30)
"""One transaction takes milliseconds; half a minute means the store hangs."""
SETTLE_HEARTBEAT = timedelta(seconds=1.5)
"""Time without a heartbeat after which the worker of a transaction counts as dead. Repeating it has no effect."""
SETTLE_AGAIN = timedelta(seconds=0.1)
"""The first pause after a transaction that failed, or whose worker died; it doubles up to that of model calls.

With the heartbeat, a ledger row is written within two seconds of the death of its worker.
"""

SEND_ATTEMPT = timedelta(seconds=60)
"""One attempt to send a report has a shorter timeout of its own; the rest is for reading it from the store."""
SEND_HEARTBEAT = timedelta(seconds=10)
"""Time without a heartbeat after which an attempt counts as failed: its worker is dead."""


class ActivityOptions(TypedDict, total=False):
    """Timeouts and retries of an activity, as `workflow.execute_activity_method` takes them."""

    schedule_to_close_timeout: timedelta
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


class LocalActivityOptions(TypedDict):
    """Timeouts and retries of a local activity."""

    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy


def model_call_options(timing: Timing) -> ActivityOptions:
    """For a model call: its worker's death is noticed by a missing heartbeat.

    The activity itself decides when a provider has failed often enough (it counts only the provider's
    failures); an outage of the store is waited out. A cancellation waits for its partial result.
    """
    return ActivityOptions(
        start_to_close_timeout=STEP_ATTEMPT,
        heartbeat_timeout=timedelta(seconds=timing.heartbeat),
        retry_policy=_backoff(timing),
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def tool_call_options(timing: Timing) -> ActivityOptions:
    """For a tool: the activity counts its attempts and gives up by itself, as the tool's declaration says."""
    return ActivityOptions(
        start_to_close_timeout=STEP_ATTEMPT,
        heartbeat_timeout=timedelta(seconds=timing.heartbeat),
        retry_policy=_backoff(timing),
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def claim_options() -> LocalActivityOptions:
    """For a read of the store that takes milliseconds, before a session begins."""
    return LocalActivityOptions(
        start_to_close_timeout=SETTLE_ATTEMPT, retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=5))
    )


def store_options(timing: Timing) -> ActivityOptions:
    """For billing and recording: retried until it succeeds. The conversation goes on meanwhile.

    The activity sends heartbeats: when its worker dies, another one takes over within seconds.
    """
    return ActivityOptions(
        start_to_close_timeout=SETTLE_ATTEMPT,
        heartbeat_timeout=SETTLE_HEARTBEAT,
        retry_policy=_backoff(timing, first=SETTLE_AGAIN),
    )


def delivery_attempt_options(seconds: float) -> ActivityOptions:
    """For one attempt to send a report, with `seconds` left for the delivery. Its workflow decides on further ones."""
    left = timedelta(seconds=seconds)
    return ActivityOptions(
        schedule_to_close_timeout=left,
        start_to_close_timeout=min(left, SEND_ATTEMPT),
        heartbeat_timeout=SEND_HEARTBEAT,
        retry_policy=RetryPolicy(maximum_attempts=1),
    )


def polling_options(timing: Timing, seconds: float) -> ActivityOptions:
    """For polling other workflows for up to `seconds`. It changes nothing, and can be repeated."""
    return ActivityOptions(
        start_to_close_timeout=SETTLE_ATTEMPT + timedelta(seconds=seconds),
        heartbeat_timeout=timedelta(seconds=timing.heartbeat),
        retry_policy=_backoff(timing),
    )


def _backoff(timing: Timing, first: timedelta | None = None) -> RetryPolicy:
    initial = timedelta(seconds=timing.retry_initial)
    return RetryPolicy(
        initial_interval=initial if first is None else min(first, initial),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=timing.retry_maximum),
        maximum_attempts=0,
    )
