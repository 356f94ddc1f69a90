"""Routes of agents: store a version, list, get, erase."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response

from api.http.problems import Problem, error_docs, invalid, not_found
from api.http.reading_threads import ReadingThreads
from api.http.responses import (
    READ_ERRORS,
    ResponseDocs,
    json_response,
    page_within_bytes,
    rendered_as,
    response_docs,
)
from api.routes.dependencies import Cursor, Limit, Organization, Services, ServicesDep, accepting_commands
from api.schemas import examples
from api.schemas.agent_files import read_agent, read_export
from api.schemas.requests import Phrase
from api.schemas.responses import Agent, AgentDryRun, AgentVersionSummary, PageOf
from api.schemas.structured_text import TextFormat, write_yaml
from domain.agents.definition import AgentDefinition, InvalidAgent, warnings_for
from domain.agents.validation_errors import ROOT_PATH, error_count
from store.agents import StoredAgent

router = APIRouter(prefix="/v1/agents", tags=["agents"])

ParsedAgent = tuple[AgentDefinition, tuple[str, ...]]
"""A definition and its warnings."""
Reader = Callable[[bytes, TextFormat], ParsedAgent]

MEDIA_TYPES: Final[dict[str, TextFormat]] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
}
DocumentReference = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}:.{1,200}$")]
MAX_REFERENCES: Final = 100
MAX_VERSION: Final = 2**31 - 1
TOO_SLOW_TO_READ: Final = "The body took too long to read; nothing was stored. Send it again, or make it smaller."
Form = Annotated[Literal["json", "yaml"], Query(alias="format", description="yaml: the definition alone.")]
_SHOWN: Final[ResponseDocs] = {
    200: {
        "description": "The agent, or its definition as YAML",
        "content": {
            "application/json": {"example": examples.AGENT},
            "application/yaml": {"schema": {"type": "string"}, "example": examples.DEFINITION_YAML},
        },
    },
    **error_docs("not_found", *READ_ERRORS),
}
AgentId = Annotated[str, Path(description="The agent's id or name.")]
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
        description="The new version",
        example=examples.AGENT,
        also={
            200: {
                "model": Agent | AgentDryRun,
                "description": "The latest version, which equals the definition that was sent; or the dry run.",
            }
        },
    ),
)
async def push_agent(
    *,
    request: Request,
    organization: Organization,
    services: ServicesDep,
    format: Annotated[Literal["playhead", "dograh"], Query(description="Format of the body.")] = "playhead",
    name: Annotated[
        Phrase | None, Query(description="The agent's name, for exports; by default the name in the export.")
    ] = None,
    dry_run: Annotated[bool, Query(description="True: check the definition, and store nothing.")] = False,
    document: Annotated[
        list[DocumentReference] | None,
        Query(max_length=MAX_REFERENCES, description="Uploaded documents for files of the agent, each as sha256:name."),
    ] = None,
) -> Response:
    """Store a new version of the agent with the name of the definition. A definition equal to the latest adds none.

    With `format=dograh` the body is a workflow export of dograh, and `name` replaces the name in it. Parts of an export
    that do not apply to text chats are listed in `warnings`.

    A file of a documents tool is the document that `document` gives for it, or else the newest upload of its name. The
    version keeps that content.
    """
    definition, warnings = await _parse_body(request, services.reading_threads, _reader(format, name))
    sent = {file: digest for digest, _, file in (each.partition(":") for each in document or ())}
    with invalid_agents_as_problems():
        definition = await services.documents.attach(organization, definition, sent, dry_run=dry_run)
    latest = await services.agents.find(organization, definition.name)
    if latest is not None and latest.name != definition.name:
        latest = None  # found by its id, which equals the name
    changed = latest is None or latest.definition != definition
    if dry_run:
        version = (latest.version if latest else 0) + changed
        return json_response(
            AgentDryRun(
                name=definition.name, version=version, changed=changed, warnings=warnings, definition=definition
            )
        )
    if latest is not None and not changed:
        if latest.warnings != warnings:
            latest = await services.agents.add_version(organization, definition, warnings)
        return _agent_response(latest)
    added = await services.agents.add_version(organization, definition, warnings)
    return _agent_response(added, status=201)


@router.get(
    "",
    response_model=PageOf[Agent],
    responses=response_docs("invalid_request", *READ_ERRORS, example=examples.page_of(examples.AGENT)),
)
async def list_agents(
    organization: Organization, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The latest version of every agent, the newest agent first."""
    return await page_within_bytes(partial(services.agents.list, organization), limit, cursor, rendered_as(Agent))


@router.get("/{agent_id}", response_model=Agent, responses=_SHOWN)
async def get_agent(
    agent_id: AgentId,
    organization: Organization,
    services: ServicesDep,
    form: Form = "json",
) -> Response:
    """The latest version of an agent; with format=yaml its definition, as `POST /v1/agents` takes it."""
    agent = await services.agents.find(organization, agent_id)
    if agent is None:
        raise not_found("agent", agent_id)
    return await _shown(agent, form, services)


@router.delete(
    "/{agent_id}",
    status_code=204,
    response_class=Response,
    dependencies=[accepting_commands],
    responses=error_docs("not_found", "agent_in_use", *READ_ERRORS),
)
async def erase_agent(agent_id: AgentId, organization: Organization, services: ServicesDep) -> Response:
    """Erase an agent with all its versions, and the documents that no other agent searches.

    An agent with sessions or suites cannot be erased: erase its sessions first.
    """
    agent = await services.agents.find(organization, agent_id)
    if agent is None:
        raise not_found("agent", agent_id)
    await services.documents.erase_agent(agent)
    return Response(status_code=204)


@router.get(
    "/{agent_id}/versions",
    response_model=PageOf[AgentVersionSummary],
    responses=response_docs(
        "invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.AGENT_VERSION)
    ),
)
async def list_agent_versions(
    agent_id: AgentId, organization: Organization, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The versions of an agent, newest first."""
    agent = await services.agents.find(organization, agent_id)
    if agent is None:
        raise not_found("agent", agent_id)
    return await page_within_bytes(partial(services.agents.versions, agent.id), limit, cursor, _render_version)


@router.get("/{agent_id}/versions/{version}", response_model=Agent, responses=_SHOWN)
async def get_agent_version(
    agent_id: AgentId,
    version: Annotated[int, Path(ge=1, le=MAX_VERSION)],
    organization: Organization,
    services: ServicesDep,
    form: Form = "json",
) -> Response:
    """One version of an agent; with format=yaml its definition, as `POST /v1/agents` takes it."""
    agent = await services.agents.find(organization, agent_id, version)
    if agent is None:
        raise not_found("agent", f"{agent_id}, version {version}")
    return await _shown(agent, form, services)


def _reader(form: Literal["playhead", "dograh"], name: str | None) -> Reader:
    """The parser of the body. A definition contains its name; an export can be named in the query."""
    if form == "dograh":
        return partial(_read_export, name=name)
    if name is None:
        return _read_agent
    problem = "is allowed with format=dograh only"
    detail = f"The query parameter name {problem}: definitions contain their name."
    raise invalid("invalid_request", detail, [("query.name", problem)])


def _read_agent(text: bytes, format: TextFormat) -> ParsedAgent:
    definition = read_agent(text, format)
    return definition, warnings_for(definition)


def _read_export(text: bytes, format: TextFormat, name: str | None) -> ParsedAgent:
    imported = read_export(text, format, name)
    return imported.definition, (*imported.warnings, *warnings_for(imported.definition))


async def _parse_body(request: Request, threads: ReadingThreads, read: Reader) -> ParsedAgent:
    """The agent in a request's body, parsed in a thread because a large text would block the event loop."""
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    text_format = MEDIA_TYPES.get(header.get_content_type())
    if text_format is None:
        accepted = ", ".join(MEDIA_TYPES)
        raise Problem("unsupported_media_type", f"Send the definition with a Content-Type of {accepted}.")
    try:
        with invalid_agents_as_problems():
            return await threads.run(partial(read, await request.body(), text_format))
    except TimeoutError as error:
        raise invalid("invalid_agent", TOO_SLOW_TO_READ, [(ROOT_PATH, "takes too long to read")]) from error


@contextmanager
def invalid_agents_as_problems() -> Iterator[None]:
    """Raise Problem("invalid_agent") with every issue."""
    try:
        yield
    except InvalidAgent as error:
        issues = error.issues
        has = f"The agent definition has {error_count(error.count)}"
        detail = f"{has}: {issues[0].path}: {issues[0].message}. Nothing was stored."
        raise invalid("invalid_agent", detail, [(issue.path, issue.message) for issue in issues]) from error


def _render_version(agent: StoredAgent) -> bytes:
    summary = AgentVersionSummary(
        version=agent.version,
        created_at=agent.created_at,
        node_count=len(agent.definition.nodes),
        warnings=len(agent.warnings),
    )
    return summary.model_dump_json().encode()


async def _shown(agent: StoredAgent, form: Literal["json", "yaml"], services: Services) -> Response:
    if form == "json":
        return _agent_response(agent)
    text = await services.written(lambda: write_yaml(agent.definition.model_dump(mode="json")))
    return Response(text, media_type="application/yaml")


def _agent_response(agent: StoredAgent, status: int = 200) -> Response:
    location = f"/v1/agents/{agent.id}/versions/{agent.version}" if status == 201 else None
    return json_response(Agent.model_validate(agent), status=status, location=location)
