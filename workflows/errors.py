"""Refusals as Temporal errors: typed by their code, never retried, with the figures as details."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ActivityError, ApplicationError

from domain.rejections import CommandRejected


@contextmanager
def rejections_as_errors() -> Iterator[None]:
    """Turn a `CommandRejected` into an `ApplicationError`; Temporal would retry any other exception for ever."""
    try:
        yield
    except CommandRejected as refused:
        rejection = refused.rejection
        raise ApplicationError(rejection.detail, rejection, type=rejection.code, non_retryable=True) from None


def reason_of(error: ActivityError) -> str:
    """The message of the error that made an activity fail."""
    cause = error.cause
    return getattr(cause, "message", None) or str(cause or error)
