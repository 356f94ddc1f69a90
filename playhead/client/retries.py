"""When a call that failed is sent again: only where that cannot do a thing twice, and not before the API wants it."""

from dataclasses import dataclass

from playhead.client.errors import APIConnectionError, APIStatusError, PlayheadError, WaitTimeout


@dataclass(frozen=True)
class Retries:
    """How often and how soon a call is sent again.

    `again` counts the attempts after the first. Pauses double from `first_pause` to `longest_pause`, in seconds; one
    that the API asks for with `Retry-After` is kept to, unless it is longer than `longest_wait`.
    """

    again: int = 3
    first_pause: float = 0.5
    longest_pause: float = 8.0
    longest_wait: float = 60.0

    def pause_after(self, failure: PlayheadError, attempt: int, *, repeatable: bool) -> float | None:
        """Seconds until the attempt after this one; none when the failure is to be told."""
        if attempt > self.again or not _may_repeat(failure, repeatable):
            return None
        if isinstance(failure, WaitTimeout):
            return 0.0  # the API has just been waited for
        wanted = failure.retry_after if isinstance(failure, APIStatusError) else None
        if wanted is not None:
            return wanted if wanted <= self.longest_wait else None
        pause: float = self.first_pause * 2 ** (attempt - 1)
        return min(pause, self.longest_pause)


NO_RETRIES = Retries(again=0)


def _may_repeat(failure: PlayheadError, repeatable: bool) -> bool:
    match failure:
        case APIConnectionError():
            return repeatable or not failure.was_sent
        case WaitTimeout():
            return repeatable
        case APIStatusError():
            return failure.nothing_accepted
    return False
