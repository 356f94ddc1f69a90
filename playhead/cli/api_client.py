"""The API client of the command line, configured by the environment."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playhead.output.api_errors import errors_as_command_failures
from playhead_client import DEFAULT_TIMEOUT, NO_RETRIES, Playhead, RetryPolicy


@contextmanager
def api_client(
    *,
    timeout: float = DEFAULT_TIMEOUT,
    retries: RetryPolicy = NO_RETRIES,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Playhead]:
    """A client for PLAYHEAD_API_URL with PLAYHEAD_API_KEY. Its errors become CommandFailed."""
    with errors_as_command_failures(), Playhead(timeout=timeout, retries=retries, sleep=sleep) as client:
        yield client
