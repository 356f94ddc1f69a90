"""Routes of OpenAI's Responses API: a response is a turn of a session."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic_core import to_json
from starlette.responses import Response

from api.http.responses import json_response
from api.http.sse import format_event
from api.openai.errors import SESSION_HEADER, ChatRoute, error_docs
from api.openai.responses_api import examples
from api.openai.responses_api.schemas import AgentResponse, DeletedResponse, ResponseRequest
from api.routes.dependencies import Organization, ServicesDep, accepting_commands, log_subject
from api.routes.openai import COMMAND_ERRORS, READ_ERRORS, SessionId, name_ignored_parameters
from api.schemas.requests import IdempotencyKey

router = APIRouter(prefix="/v1/responses", tags=["openai"], route_class=ChatRoute)

ResponseId = Annotated[str, Path(max_length=200, description="The response.")]


@router.post(
    "",
    response_model=AgentResponse,
    dependencies=[accepting_commands],
    responses={
        200: {
            "description": "The response",
            "headers": {"X-Session-Id": {"description": "The session.", "schema": {"type": "string"}}},
            "content": {
                "application/json": {"example": examples.RESPONSE},
                "text/event-stream": {
                    "example": format_event(examples.DELTA["type"], to_json(examples.DELTA)).decode()
                },
            },
        },
        **error_docs(*COMMAND_ERRORS),
    },
)
async def create_response(
    *,
    request: Request,
    body: ResponseRequest,
    organization: Organization,
    services: ServicesDep,
    x_session_id: SessionId = None,  # for the OpenAPI document; `SessionNames` reads it
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Send the last user message to an agent and return its reply as a response.

    With `previous_response_id` the message follows that response: if it is not the newest, a branch begins, as after
    a rewind. With `conversation` it continues the session. Otherwise it continues the session of the
    earlier items in the input, or a new session is created.
    """
    names, responses = services.session_names, services.responses
    name = names.name(request.headers, {**body.others, "metadata": body.metadata})
    prepared = await responses.prepare(organization, body, name=name, key=idempotency_key)
    log_subject(request, "session", prepared.completion.session.id)
    if body.stream:
        streamed = await responses.stream(prepared)
        response: Response = services.event_stream(streamed.events)
        session_id = streamed.session.id
    else:
        created = await responses.create(prepared)
        response = json_response(created)
        session_id = created.session_id
    response.headers[SESSION_HEADER] = session_id
    known = names.fields | prepared.completion.taken
    others = {field: value for field, value in prepared.chat.others.items() if field not in known}
    name_ignored_parameters(request, response, others)
    return response


@router.get(
    "/{response_id}",
    response_model=AgentResponse,
    responses={
        200: {"content": {"application/json": {"example": examples.RESPONSE}}},
        **error_docs("not_found", *READ_ERRORS),
    },
)
async def get_response(
    response_id: ResponseId, request: Request, organization: Organization, services: ServicesDep
) -> Response:
    """A response, also one on a discarded branch."""
    found = await services.responses.get(organization, response_id)
    log_subject(request, "session", found.session_id)
    return json_response(found)


@router.delete(
    "/{response_id}",
    response_model=DeletedResponse,
    dependencies=[accepting_commands],
    responses={
        200: {"content": {"application/json": {"example": examples.DELETED}}},
        **error_docs("invalid_request", "not_found", *READ_ERRORS),
    },
)
async def delete_response(response_id: ResponseId, organization: Organization, services: ServicesDep) -> Response:
    """Delete a response that is the only one of its session, by erasing the session."""
    return json_response(await services.responses.delete(organization, response_id))
