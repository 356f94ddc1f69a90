"""The routes of agents: store a new version, list them, look at one."""

import asyncio
from collections.abc import Callable
from email.message import Message
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.http.problems import Problem, invalid, not_found
from api.http.responses import READ_ERRORS, cursor_errors_as_problems, json_response, page_response, response_docs
from api.routes.dependencies import Cursor, Limit, Organization, ServicesDep, accepting_commands
from api.schemas import examples
from api.schemas.agent_files import TextFormat, read_agent, read_export
from api.schemas.requests import Phrase
from api.schemas.responses import Agent, PageOf
from domain.agents.definition import AgentDefinition, InvalidAgent, warnings_for
from store.agents import StoredAgent

router = APIRouter(prefix="/v1/agents", tags=["agents"])

Agreed = tuple[AgentDefinition, tuple[str, ...]]
"""A definition, and what deserves a look in it."""
Reader = Callable[[bytes, TextFormat], Agreed]

MEDIA_TYPES: Final[dict[str, TextFormat]] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
}
_DEFINITION_SCHEMA: Final = {"$ref": "#/components/schemas/AgentDefinition"}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The definition, or an export with `format=dograh`, as JSON or YAML.",
        "content": {
            "application/json": {"schema": _DEFINITION_SCHEMA, "example": examples.DEFINITION},
            "application/yaml": {"schema": {"type": "string"}, "example": examples.DEFINITION_YAML},
        },
    }
}


@router.post(
    "",
    status_code=201,
    response_model=Agent,
    dependencies=[accepting_commands],
    openapi_extra=_BODY,
    responses=response_docs(
        *(
            "invalid_agent",
            "invalid_request",
            "unauthenticated",
            "too_large",
            "unsupported_media_type",
            "validation_error",
            "unavailable",
        ),
        status=201,
        says="The new version",
        example=examples.AGENT,
        also={200: {"model": Agent, "description": "The latest version, which is equal to what was sent."}},
    ),
)
async def push_agent(
    *,
    request: Request,
    organization: Organization,
    services: ServicesDep,
    format: Annotated[Literal["playhead", "dograh"], Query(description="What the body is.")] = "playhead",
    name: Annotated[Phrase | None, Query(description="The agent's name: an export has none of its own.")] = None,
) -> Response:
    """Store a new version of the agent of that name; a definition equal to the latest one adds none.

    With `format=dograh` the body is a workflow export of that product, and `name` is required. What an export says
    that has no place in a text chat is named in `warnings`.
    """
    definition, warnings = await _agent_in(request, _reader(format, name))
    latest = await services.agents.find(organization, definition.name)
    if latest is not None and latest.name == definition.name and latest.definition == definition:
        return _answer(latest)
    added = await services.agents.add_version(organization, definition, warnings)
    return _answer(added, status=201)


@router.get(
    "",
    response_model=PageOf[Agent],
    responses=response_docs("invalid_request", *READ_ERRORS, example=examples.page_of(examples.AGENT)),
)
async def list_agents(
    organization: Organization, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The latest version of every agent, the newest agent first."""
    with cursor_errors_as_problems():
        page = await services.agents.list(organization, limit, cursor)
    return page_response(Agent, page.items, page.next_cursor)


@router.get(
    "/{agent_id}", response_model=Agent, responses=response_docs("not_found", *READ_ERRORS, example=examples.AGENT)
)
async def get_agent(
    agent_id: Annotated[str, Path(description="The agent's id or name.")],
    organization: Organization,
    services: ServicesDep,
) -> Response:
    """The latest version of an agent."""
    agent = await services.agents.find(organization, agent_id)
    if agent is None:
        raise not_found("agent", agent_id)
    return _answer(agent)


@router.get(
    "/{agent_id}/versions/{version}",
    response_model=Agent,
    responses=response_docs("not_found", *READ_ERRORS, example=examples.AGENT),
)
async def get_agent_version(
    agent_id: Annotated[str, Path(description="The agent's id or name.")],
    version: Annotated[int, Path(ge=1)],
    organization: Organization,
    services: ServicesDep,
) -> Response:
    """One version of an agent."""
    agent = await services.agents.find(organization, agent_id, version)
    if agent is None:
        raise not_found("agent", f"{agent_id}, version {version}")
    return _answer(agent)


def _reader(form: Literal["playhead", "dograh"], name: str | None) -> Reader:
    """How the body is read. A definition names itself; an export is named by the caller."""
    if form == "dograh" and name is not None:
        return partial(_read_export, name=name)
    if form == "playhead" and name is None:
        return _read_agent
    says = "is required with format=dograh" if form == "dograh" else "goes with format=dograh only"
    detail = f"The name in the query {says}: an export has none of its own, and a definition has one."
    raise invalid("invalid_request", detail, [("query.name", says)])


def _read_agent(text: bytes, written: TextFormat) -> Agreed:
    definition = read_agent(text, written)
    return definition, warnings_for(definition)


def _read_export(text: bytes, written: TextFormat, name: str) -> Agreed:
    imported = read_export(text, written, name)
    return imported.definition, (*imported.warnings, *warnings_for(imported.definition))


async def _agent_in(request: Request, read: Reader) -> Agreed:
    """The agent in a request's body. It is read in a thread: a large text takes long enough to be noticed."""
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    written = MEDIA_TYPES.get(header.get_content_type())
    if written is None:
        accepted = ", ".join(MEDIA_TYPES)
        raise Problem("unsupported_media_type", f"Send the definition with a Content-Type of {accepted}.")
    try:
        return await asyncio.to_thread(read, await request.body(), written)
    except InvalidAgent as error:
        issues = error.issues
        count = f"{len(issues)} errors" if len(issues) > 1 else "1 error"
        detail = f"The agent definition has {count}: {issues[0].path}: {issues[0].message}. Nothing was stored."
        raise invalid("invalid_agent", detail, [(issue.path, issue.message) for issue in issues]) from error


def _answer(agent: StoredAgent, status: int = 200) -> Response:
    location = f"/v1/agents/{agent.id}/versions/{agent.version}" if status == 201 else None
    return json_response(Agent.model_validate(agent), status=status, location=location)
