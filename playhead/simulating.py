"""A suite watched from afar: how far it is, how fast it goes, how long it will take; what happens if nobody answers."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from playhead.client import ForeignAnswer, Unavailable, Unreachable

if TYPE_CHECKING:
    from playhead.client import Playhead, Suite

LOOK_SECONDS = 0.5
"""How often the suite is looked at: it goes on by itself, whoever looks."""
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to reach an API that does not answer."""
SPEED_SECONDS = 10.0
"""The time over which turns a second are counted."""


@dataclass(frozen=True)
class Sight:
    """A suite as it was just seen. `left_seconds` is a guess, once there is something to guess from.

    `lost` says why the API does not answer now, if it does not: then everything else is as it was seen last.
    """

    suite: "Suite"
    turns_per_second: float
    elapsed: float
    left_seconds: float | None
    lost: str | None = None

    @property
    def judged(self) -> int:
        """How many conversations have their verdict."""
        progress = self.suite.progress
        return progress.passed + progress.failed + progress.inconclusive

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.suite.outcome is not None


class Watch:
    """Looks at a suite again and again. It waits for an API that is away: the suite does not need it."""

    def __init__(
        self,
        api: "Playhead",
        suite_id: str,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._suite_id = suite_id
        self._clock = clock
        self._sleep = sleep
        self._first: tuple[float, int] | None = None
        self._lately: deque[tuple[float, int]] = deque()

    def sights(self) -> Iterator[Sight]:
        """One sight after the other, the last one when the suite is over."""
        sight = self._sight(self._api.suites.get(self._suite_id))
        pause = LOOK_SECONDS
        while True:
            yield sight
            if sight.is_over:
                return
            self._sleep(pause)
            try:
                sight = self._sight(self._api.suites.get(self._suite_id))
                pause = LOOK_SECONDS
            except (Unreachable, Unavailable, ForeignAnswer) as error:
                sight = Sight(sight.suite, 0.0, sight.elapsed, None, lost=str(error))
                pause = min(pause * 2, LONGEST_PAUSE)

    def _sight(self, suite: "Suite") -> Sight:
        progress = suite.progress
        judged = progress.passed + progress.failed + progress.inconclusive
        now = self._clock()
        self._first = self._first or (now, judged)
        first_at, first_judged = self._first
        self._lately.append((now, progress.turns))
        while len(self._lately) > 2 and now - self._lately[1][0] > SPEED_SECONDS:
            self._lately.popleft()
        since, turns_then = self._lately[0]
        speed = (progress.turns - turns_then) / (now - since) if now > since else 0.0
        until = now if suite.outcome is None else suite.updated_at.timestamp()
        elapsed = max(until - suite.created_at.timestamp(), 0.0)
        newly = judged - first_judged
        left = (progress.planned - judged) * (now - first_at) / newly if newly else None
        return Sight(suite, speed, elapsed, left)
