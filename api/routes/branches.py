"""Routes of branches: edit, regenerate, cancel, restore, compare and fork."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.http.responses import COMMAND_ERRORS, READ_ERRORS, json_response, response_docs
from api.routes.dependencies import OwnSession, Services, ServicesDep, accepting_commands, log_subject
from api.routes.sessions import Wait
from api.schemas import examples
from api.schemas.requests import CreationKey, EditBody, ForkBody, IdempotencyKey, RegenerateBody, RevisionBody
from api.schemas.responses import Accepted, Comparison, Session
from domain.sessions.commands import CancelTurn, RestoreBranch, TurnCommand
from store.sessions.sessions import StoredSession

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

BranchName = Annotated[str, Query(max_length=200, description="A branch's id, or `active` for the visible one.")]

TurnId = Annotated[str, Path(max_length=200, description="A turn of the active branch, also past the cursor.")]
BranchId = Annotated[str, Path(max_length=200, description="A branch of `discarded_branches`.")]

_REPLY_RESPONSES = response_docs(
    *COMMAND_ERRORS,
    "quota_exceeded",
    "revision_conflict",
    "idempotency_mismatch",
    "superseded",
    "session_ended",
    "model_failed",
    example=examples.SESSION,
    description="The session after the reply",
    also={202: {"model": Accepted, "description": "With wait=false: the command was accepted."}},
)


@router.post(
    "/{session_id}/turns/{turn_id}/edit",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=_REPLY_RESPONSES,
)
async def edit(
    *,
    session: OwnSession,
    turn_id: TurnId,
    body: EditBody,
    services: ServicesDep,
    wait: Wait = True,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Replace the message of a turn, and respond when the agent has replied: one change with one revision check.

    The turn and all later turns are kept as a discarded branch. A reply that is pending there is stopped.
    """
    return await _reply_response(services, session, body.command(turn_id, idempotency_key, wait=wait))


@router.post(
    "/{session_id}/turns/{turn_id}/regenerate",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=_REPLY_RESPONSES,
)
async def regenerate(
    *,
    session: OwnSession,
    turn_id: TurnId,
    services: ServicesDep,
    body: RegenerateBody | None = None,
    wait: Wait = True,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Answer a turn again from the same message; also a failed or interrupted turn, or the greeting."""
    command = (body or RegenerateBody()).command(turn_id, idempotency_key, wait=wait)
    return await _reply_response(services, session, command)


@router.post(
    "/{session_id}/cancel",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS, "revision_conflict", "turn_not_pending", "session_ended", example=examples.SESSION
    ),
)
async def cancel(session: OwnSession, services: ServicesDep, body: RevisionBody | None = None) -> Response:
    """Stop the pending reply, and respond when it has stopped: its text so far stays, with status `interrupted`.

    A reply that was complete before the command arrived stays complete.
    """
    command = CancelTurn(expected_revision=body.expected_revision if body else None)
    return services.session_renderer.session(session, await services.commands.cancel(session, command))


@router.post(
    "/{session_id}/branches/{branch_id}/restore",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(*COMMAND_ERRORS, "revision_conflict", "session_ended", example=examples.SESSION),
)
async def restore(
    session: OwnSession, branch_id: BranchId, services: ServicesDep, body: RevisionBody | None = None
) -> Response:
    """Make a discarded branch active again. The branch that was active becomes a discarded branch."""
    command = RestoreBranch(branch_id=branch_id, expected_revision=body.expected_revision if body else None)
    return services.session_renderer.session(session, await services.commands.restore(session, command))


@router.post(
    "/{session_id}/fork",
    status_code=201,
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS,
        "quota_exceeded",
        "turn_in_progress",
        "idempotency_mismatch",
        "session_erased",
        status=201,
        description="The new session",
        example={**examples.SESSION, "forked_from": examples.FORKED_FROM},
    ),
)
async def fork(
    request: Request,
    session: OwnSession,
    services: ServicesDep,
    body: ForkBody | None = None,
    idempotency_key: CreationKey = None,
) -> Response:
    """Create a session that continues this one from a turn of any branch. This session does not change.

    The new session is billed for its own turns only. It may use another agent, if that has the node of the turn, or
    another model. A session that has ended can be forked, too. A repeat with the same `Idempotency-Key` returns the
    session that the first call created.
    """
    forked, snapshot = await services.forks.fork(session, body or ForkBody(), idempotency_key)
    log_subject(request, "session", forked.id)
    return services.session_renderer.session(forked, snapshot, status=201)


async def _reply_response(services: Services, session: StoredSession, command: TurnCommand) -> Response:
    if not command.wait:
        return json_response(await services.messages.accept(session, command), status=202)
    return services.session_renderer.session(session, await services.messages.answer(session, command))


@router.get(
    "/{session_id}/branches/compare",
    response_model=Comparison,
    responses=response_docs("not_found", *READ_ERRORS, example=examples.COMPARISON),
)
async def compare_branches(
    session: OwnSession, services: ServicesDep, a: BranchName, b: BranchName = "active"
) -> Response:
    """Compare two branches: the number of turns they share, the last of these, and the turns of each after it."""
    return json_response(await services.branch_comparison.compare(session, a, b))
