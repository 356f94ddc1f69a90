"""Routes of OpenAI's protocol: chat completions, and agents as models."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request
from pydantic import JsonValue
from pydantic_core import to_json
from starlette.responses import Response

from api.http.responses import json_response
from api.openai import examples
from api.openai.errors import SESSION_HEADER, ChatRoute, error_docs
from api.openai.parameters import IGNORED_HEADER, ignored_parameters
from api.openai.responses import completion_of, model_of
from api.openai.schemas import ChatCompletion, ChatRequest, Model, ModelList
from api.openai.streaming import ChunkForm
from api.routes.dependencies import Organization, ServicesDep, accepting_commands, log_subject
from api.schemas.requests import IdempotencyKey

router = APIRouter(prefix="/v1", tags=["openai"], route_class=ChatRoute)

READ_ERRORS = ("unauthenticated", "validation_error", "internal_error", "unavailable")
COMMAND_ERRORS = (
    "invalid_request",
    "quota_exceeded",
    "not_found",
    "revision_conflict",
    "turn_in_progress",
    "idempotency_mismatch",
    "superseded",
    "session_ended",
    "session_erased",
    "too_large",
    "rate_limited",
    "model_failed",
    "session_stuck",
    "wait_timeout",
    *READ_ERRORS,
)
SessionId = Annotated[str | None, Header(max_length=200, description="The session; the same as `metadata.session_id`.")]


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    dependencies=[accepting_commands],
    responses={
        200: {
            "description": "The reply",
            "headers": {
                "X-Session-Id": {"description": "The session.", "schema": {"type": "string"}},
                "X-Ignored-Parameters": {
                    "description": "Parameters of the request without effect, if there are any.",
                    "schema": {"type": "string"},
                },
            },
            "content": {
                "application/json": {"example": examples.COMPLETION},
                "text/event-stream": {"example": f"data: {to_json(examples.CHUNK).decode()}\n\ndata: [DONE]\n\n"},
            },
        },
        **error_docs(*COMMAND_ERRORS),
    },
)
async def create_completion(
    *,
    request: Request,
    body: ChatRequest,
    organization: Organization,
    services: ServicesDep,
    x_session_id: SessionId = None,  # for the OpenAPI document; `SessionNames` reads it
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Send the last user message to an agent and return its reply.

    The messages before it identify a turn of a session: the message continues from there, on a new branch if later
    turns exist. A request without earlier messages and without a session id creates a session. With an id, earlier
    messages may be omitted. A repeat with the same `Idempotency-Key` returns the same reply and sends nothing twice.
    """
    names, completions = services.session_names, services.chat_completions
    name = names.name(request.headers, {**body.others, "metadata": body.metadata})
    prepared = await completions.prepare(organization, body, name=name, key=idempotency_key)
    log_subject(request, "session", prepared.session.id)
    if body.stream:
        streamed = await completions.stream(
            prepared, ChunkForm(body.include_usage, has_older_form=prepared.has_older_form)
        )
        response: Response = services.event_stream(streamed.events)
        session = streamed.session
    else:
        completed = await completions.reply(prepared)
        response = json_response(completion_of(completed, has_older_form=prepared.has_older_form))
        session = completed.session
    response.headers[SESSION_HEADER] = session.id
    known = names.fields | prepared.taken
    others = {field: value for field, value in body.others.items() if field not in known}
    name_ignored_parameters(request, response, others)
    return response


@router.get(
    "/models",
    response_model=ModelList,
    responses={
        200: {"content": {"application/json": {"example": {"object": "list", "data": [examples.MODEL]}}}},
        **error_docs(*READ_ERRORS),
    },
)
async def list_models(organization: Organization, services: ServicesDep) -> Response:
    """All agents of the organization as models, newest first: up to 10,000."""
    return json_response(ModelList(data=[model_of(agent) for agent in await services.agents.names(organization)]))


@router.get(
    "/models/{model:path}",
    response_model=Model,
    responses={
        200: {"content": {"application/json": {"example": examples.MODEL}}},
        **error_docs("not_found", *READ_ERRORS),
    },
)
async def get_model(
    model: Annotated[str, Path(max_length=300, description="An agent's name or id, optionally with `@version`.")],
    organization: Organization,
    services: ServicesDep,
) -> Response:
    """One agent as a model."""
    agent, _ = await services.chat_completions.agent(organization, model)
    return json_response(model_of(agent))


def name_ignored_parameters(request: Request, response: Response, parameters: Mapping[str, JsonValue]) -> None:
    """Name the parameters of a request that had no effect, in a header of the response and in the log."""
    ignored = ignored_parameters(parameters)
    if ignored:
        response.headers[IGNORED_HEADER] = ignored
        log_subject(request, "ignored_parameters", ignored)
