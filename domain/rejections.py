"""Rejections of commands: stable error codes, the same in the domain, in Temporal and over HTTP."""

from typing import Literal

from domain.durable import FrozenModel

RejectionCode = Literal[
    "approval_not_pending",
    "branch_not_found",
    "client_call_not_pending",
    "idempotency_mismatch",
    "queue_full",
    "revision_conflict",
    "session_ended",
    "suite_ended",
    "superseded",
    "too_large",
    "turn_in_progress",
    "turn_not_found",
    "turn_not_pending",
    "validation_error",
]


class Rejection(FrozenModel):
    """The reason why a command was rejected: a code for programs, a sentence for people, and the figures involved."""

    code: RejectionCode
    detail: str
    figures: dict[str, int | str | None] = {}


class CommandRejected(Exception):
    """Raised when a command cannot be applied; the state passed in is unchanged."""

    def __init__(self, code: RejectionCode, detail: str, **figures: int | str | None) -> None:
        super().__init__(detail)
        self.rejection = Rejection(code=code, detail=detail, figures=figures)
