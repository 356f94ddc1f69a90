"""The retry policy: which failed calls are sent again, and after which pause."""

from dataclasses import dataclass

from playhead_client.errors import APIConnectionError, APIStatusError, PlayheadError, WaitTimeout


@dataclass(frozen=True)
class RetryPolicy:
    """Number and timing of retries. A call is retried only where that cannot execute it twice.

    `max_retries` counts the attempts after the first; None sets no limit. Pauses double from `first_pause` to
    `max_pause`, in seconds. A pause that the API asks for with `Retry-After` takes precedence; if it is
    longer than `max_retry_after`, the error is raised instead.
    """

    max_retries: int | None = 3
    first_pause: float = 0.5
    max_pause: float = 8.0
    max_retry_after: float = 60.0

    def pause_after(self, error: PlayheadError, attempt: int, *, repeatable: bool) -> float | None:
        """Seconds before the attempt after this one (counted from 1); None when the error must be raised.

        A `repeatable` call has no further effect when it is executed twice.
        """
        if (self.max_retries is not None and attempt > self.max_retries) or not _may_repeat(error, repeatable):
            return None
        if isinstance(error, WaitTimeout):
            return 0.0  # the API has already waited
        asked_for = error.retry_after if isinstance(error, APIStatusError) else None
        if asked_for is not None:
            return asked_for if asked_for <= self.max_retry_after else None
        return self.backoff(attempt)

    def backoff(self, attempt: int) -> float:
        """Seconds before the attempt after this one, counted from 1."""
        doublings = min(attempt - 1, 60)  # a larger power could exceed the range of a float
        return min(self.first_pause * 2.0**doublings, self.max_pause)


NO_RETRIES = RetryPolicy(max_retries=0)


def _may_repeat(error: PlayheadError, repeatable: bool) -> bool:
    match error:
        case APIConnectionError():
            return repeatable or not error.was_sent
        case WaitTimeout():
            return repeatable
        case APIStatusError():
            return error.nothing_accepted
    return False
