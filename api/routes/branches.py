"""The routes that take a conversation another way: edit, regenerate, cancel, restore a branch, fork a session."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.http.responses import COMMAND_ERRORS, READ_ERRORS, json_response, response_docs
from api.routes.dependencies import OwnSession, Services, ServicesDep, accepting_commands, note_subject
from api.routes.sessions import Wait
from api.schemas import examples
from api.schemas.requests import EditBody, ForkBody, IdempotencyKey, RegenerateBody, RevisionBody
from api.schemas.responses import Accepted, Comparison, Session
from domain.sessions.commands import CancelTurn, RestoreBranch, TurnCommand
from store.sessions.sessions import StoredSession

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

BranchName = Annotated[str, Query(max_length=200, description="A branch's id, or `active` for the visible one.")]

TurnId = Annotated[str, Path(max_length=200, description="A turn of the active branch, also past the cursor.")]
BranchId = Annotated[str, Path(max_length=200, description="A branch of `discarded_branches`.")]

_ANSWERED = response_docs(
    *COMMAND_ERRORS,
    "quota_exceeded",
    "revision_conflict",
    "idempotency_mismatch",
    "superseded",
    "session_ended",
    "model_failed",
    example=examples.SESSION,
    says="The session after the reply",
    also={202: {"model": Accepted, "description": "With wait=false: the command was accepted."}},
)


@router.post(
    "/{session_id}/turns/{turn_id}/edit",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=_ANSWERED,
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
    """Say something else in a turn, and answer when the agent has replied: one change, with one revision check.

    The turn and what came after it are kept as a discarded branch. A reply that is pending there is stopped.
    """
    return await _answer(services, session, body.command(turn_id, idempotency_key, wait=wait))


@router.post(
    "/{session_id}/turns/{turn_id}/regenerate",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=_ANSWERED,
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
    """Have a turn answered again, from the same message; also a failed one, an interrupted one, or the greeting."""
    command = (body or RegenerateBody()).command(turn_id, idempotency_key, wait=wait)
    return await _answer(services, session, command)


@router.post(
    "/{session_id}/cancel",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS, "revision_conflict", "turn_not_pending", "session_ended", example=examples.SESSION
    ),
)
async def cancel(session: OwnSession, services: ServicesDep, body: RevisionBody | None = None) -> Response:
    """Stop the reply that is pending, and answer when it has stopped: what was said of it stays, as `interrupted`.

    A reply that was there before the command was is simply complete.
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
    """Make a discarded branch the active one again. The present future becomes a discarded branch in turn."""
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
        status=201,
        says="The new session",
        example={**examples.SESSION, "forked_from": examples.FORKED_FROM},
    ),
)
async def fork(request: Request, session: OwnSession, services: ServicesDep, body: ForkBody | None = None) -> Response:
    """Begin a new session with the past of this one, up to a turn of any branch. This one stays as it is.

    The new session bills only its own turns. It may go on with another agent, if that knows the node it stands at, or
    with another model. A session that has ended can be forked, too.
    """
    forked, snapshot = await services.forks.fork(session, body or ForkBody())
    note_subject(request, "session", forked.id)
    return services.session_renderer.session(forked, snapshot, status=201)


async def _answer(services: Services, session: StoredSession, command: TurnCommand) -> Response:
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
    """Two branches side by side: how many turns they share, the last of these, and the turns that each has after it."""
    return json_response(await services.branch_comparison.compare(session, a, b))
