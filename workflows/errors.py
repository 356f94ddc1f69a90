"""Rejections as Temporal errors: typed by their code, never retried, with the rejection as details."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ActivityError, ApplicationError

from contracts.sessions import CONTEXT_TOO_LONG
from domain.rejections import CommandRejected


@contextmanager
def rejections_as_errors() -> Iterator[None]:
    """Turn a `CommandRejected` into an `ApplicationError`; Temporal would retry any other exception for ever."""
    try:
        yield
    except CommandRejected as error:
        rejection = error.rejection
        raise ApplicationError(rejection.detail, rejection, type=rejection.code, non_retryable=True) from None


def reason_of(error: ActivityError) -> str:
    """The message of the error that made an activity fail."""
    cause = error.cause
    return getattr(cause, "message", None) or str(cause or error)


def code_of(error: ActivityError) -> str | None:
    """The code of the error that made an activity fail, if it has one of its own for clients."""
    cause = error.cause
    return cause.type if isinstance(cause, ApplicationError) and cause.type == CONTEXT_TOO_LONG else None
