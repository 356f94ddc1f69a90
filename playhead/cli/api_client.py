"""The API as the command line meets it: found by the environment, and its errors told as failed commands."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playhead.output.api_errors import failing_as_command
from playhead_client import DEFAULT_TIMEOUT, NO_RETRIES, Playhead, RetryPolicy


@contextmanager
def calling_api(
    *,
    timeout: float = DEFAULT_TIMEOUT,
    retries: RetryPolicy = NO_RETRIES,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Playhead]:
    """The API that PLAYHEAD_API_URL names, with PLAYHEAD_API_KEY. Raises CommandFailed for whatever goes wrong."""
    with failing_as_command(), Playhead(timeout=timeout, retries=retries, sleep=sleep) as client:
        yield client
