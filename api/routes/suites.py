"""Routes of suites: start one, read its progress, pause, resume or cancel it, and get its report."""

from collections.abc import Mapping
from decimal import Decimal
from email.message import Message
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, BeforeValidator
from starlette.responses import Response, StreamingResponse

from api.http.problems import Problem, error_docs, invalid, not_found
from api.http.reading_threads import ReadingThreads
from api.http.responses import (
    READ_ERRORS,
    json_response,
    page_within_bytes,
    response_docs,
)
from api.http.sse import EVENT_STREAM, start_stream
from api.reports.junit import junit_of
from api.reports.suite_page import page_of_report
from api.routes.agents import MEDIA_TYPES, TOO_SLOW_TO_READ
from api.routes.dependencies import (
    AgentName,
    AgentVersion,
    Cursor,
    Limit,
    Organization,
    ServicesDep,
    accepting_commands,
    log_subject,
)
from api.routes.sessions import LastEventId
from api.schemas import suite_examples as examples
from api.schemas.examples import page_of
from api.schemas.requests import CreationKey, written_out
from api.schemas.responses import PageOf
from api.schemas.suite_files import SuiteOverrides, read_suite
from api.schemas.suites import Suite, SuiteReport, SuiteRun, SuiteSummary
from api.suites.runs import RunFilter
from api.suites.service import SuiteCommand, invalid_suite
from domain.agents.validation_errors import ROOT_PATH, InvalidDefinition
from domain.suites import scenario as written
from domain.suites.scenario import MAX_SEED
from domain.suites.verdicts import Outcome
from store.suites import StoredSuite

router = APIRouter(prefix="/v1/suites", tags=["suites"])

Format = Literal["json", "junit", "html"]

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The suite, as JSON or YAML.",
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/SuiteDefinition"},
                "example": examples.DEFINITION,
            },
            "application/yaml": {"schema": {"type": "string"}, "example": examples.DEFINITION_YAML},
        },
    }
}
_STEERING_ERRORS: Final = (
    *("not_found", "unauthenticated", "validation_error"),
    *("unavailable", "session_stuck", "wait_timeout"),
)
_TYPES: Final[Mapping[Format, str]] = {"junit": "application/xml", "html": "text/html; charset=utf-8"}


async def _own_suite(suite_id: str, organization: Organization, services: ServicesDep) -> StoredSuite:
    suite = await services.suite_store.find(organization, suite_id)
    if suite is None:
        raise not_found("suite", suite_id)
    return suite


async def _overrides(
    *,
    repeats: Annotated[int | None, Query(ge=1, le=1_000, description="Repeats of every scenario.")] = None,
    concurrency: Annotated[int | None, Query(ge=1, le=500)] = None,
    budget_usd: Annotated[Decimal | None, Query(gt=0, le=1_000_000)] = None,
    seed: Annotated[int | None, Query(ge=0, le=MAX_SEED)] = None,
    min_pass_rate: Annotated[float | None, Query(ge=0, le=1)] = None,
    tag: Annotated[list[str] | None, Query(max_length=20, description="Only scenarios with one of these tags.")] = None,
) -> SuiteOverrides:
    return SuiteOverrides(
        repeats=repeats,
        concurrency=concurrency,
        budget_usd=budget_usd,
        seed=seed,
        min_pass_rate=min_pass_rate,
        tags=tuple(tag or ()),
    )


OwnSuite = Annotated[StoredSuite, Depends(_own_suite)]
"""The suite in the path, which must belong to the caller's organization."""
OverridesDep = Annotated[SuiteOverrides, Depends(_overrides)]


@router.post(
    "",
    status_code=201,
    response_model=Suite,
    dependencies=[accepting_commands],
    openapi_extra=_BODY,
    responses=response_docs(
        *("invalid_suite", "not_found", "unauthenticated", "quota_exceeded", "too_large", "unsupported_media_type"),
        *("validation_error", "unavailable", "idempotency_mismatch"),
        status=201,
        description="The suite, started",
        example={**examples.SUITE, "status": "running", "outcome": None},
    ),
)
async def start_suite(
    request: Request,
    organization: Organization,
    services: ServicesDep,
    overrides: OverridesDep,
    idempotency_key: CreationKey = None,
) -> Response:
    """Start a suite of conversations with simulated users. Query parameters override values of the suite.

    The suite runs in the background. A repeat with the same `Idempotency-Key` returns the suite that the first call
    started.
    """
    suite = await _parse_body(request, services.reading_threads, overrides)
    stored = await services.suites.start(organization, suite, idempotency_key)
    log_subject(request, "suite", stored.id)
    content = services.suite_renderer.suite(stored, await services.suite_store.progress(stored.id))
    return json_response(content, status=201, location=f"/v1/suites/{stored.id}")


@router.get(
    "",
    response_model=PageOf[SuiteSummary],
    responses=response_docs("invalid_request", *READ_ERRORS, example=page_of(examples.SUITE_SUMMARY)),
)
async def list_suites(
    *,
    organization: Organization,
    services: ServicesDep,
    agent: AgentName = None,
    agent_version: AgentVersion = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Suites of the organization, newest first."""
    return await page_within_bytes(
        lambda limit, cursor: services.suite_store.list(
            organization, agent=agent, agent_version=agent_version, limit=limit, cursor=cursor
        ),
        limit,
        cursor,
        lambda suite: services.suite_renderer.summary(suite).model_dump_json().encode(),
    )


@router.get(
    "/{suite_id}", response_model=Suite, responses=response_docs("not_found", *READ_ERRORS, example=examples.SUITE)
)
async def get_suite(suite: OwnSuite, services: ServicesDep) -> Response:
    """A suite with its progress. The result of a run is included as soon as it has its verdict."""
    return json_response(services.suite_renderer.suite(suite, await services.suite_store.progress(suite.id)))


@router.get(
    "/{suite_id}/runs",
    response_model=PageOf[SuiteRun],
    responses=response_docs("invalid_request", "not_found", *READ_ERRORS, example=page_of(examples.SUITE_RUN)),
)
async def list_runs(
    *,
    suite: OwnSuite,
    services: ServicesDep,
    outcome: Outcome | None = None,
    scenario: Annotated[str | None, Query(max_length=64, description="A scenario's id.")] = None,
    updated_after: Annotated[
        AwareDatetime | None,
        BeforeValidator(written_out),
        Query(description="Only runs recorded since then or up to five seconds earlier; the earliest first."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The planned runs of a suite without their turns, by scenario and repeat, also those that have not begun."""
    chosen = RunFilter(outcome=outcome, scenario=scenario, updated_after=updated_after)
    return await page_within_bytes(
        lambda limit, cursor: services.suite_runs.page(suite, chosen, limit, cursor),
        limit,
        cursor,
        lambda run: run.model_dump_json().encode(),
    )


@router.get(
    "/{suite_id}/events",
    response_class=StreamingResponse,
    responses=response_docs(
        "invalid_request",
        "not_found",
        *READ_ERRORS,
        example=examples.EVENTS,
        description="`run_updated` and `suite_updated`, as docs/events.md describes them.",
        media_type=EVENT_STREAM,
        also={204: {"description": "The suite is over, and `Last-Event-ID` is the last event."}},
    ),
)
async def watch_suite(suite: OwnSuite, services: ServicesDep, last_event_id: LastEventId = None) -> Response:
    """Stream the suite with its progress, and its runs as they are recorded, until it is over."""
    if await services.suite_streams.has_everything(suite, last_event_id):
        return Response(status_code=204)
    return services.event_stream(await start_stream(services.suite_streams.events(suite, last_event_id)))


@router.get(
    "/{suite_id}/definition",
    response_class=Response,
    responses={
        200: {
            "description": "The definition, as `POST /v1/suites` takes it.",
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/SuiteDefinition"},
                    "example": examples.DEFINITION,
                }
            },
        },
        **error_docs("not_found", *READ_ERRORS),
    },
)
async def get_definition(suite: OwnSuite) -> Response:
    """The definition of a suite as it was started, with the values of the query in place of those of the file."""
    return json_response(suite.suite)


@router.get(
    "/{suite_id}/report",
    response_model=SuiteReport,
    responses=response_docs(
        "not_found",
        *READ_ERRORS,
        example=examples.SUITE_REPORT,
        description="JSON; with format=junit XML, with format=html a self-contained page.",
    ),
)
async def get_report(
    suite: OwnSuite,
    services: ServicesDep,
    format: Format = "json",
    transcripts: Annotated[bool, Query(description="False: without the conversations.")] = True,
    baseline: Annotated[str | None, Query(max_length=200, description="An earlier suite to compare with.")] = None,
) -> Response:
    """The report of a suite: every conversation with its verdict, also while the suite is running."""
    report = await services.suite_reports.report(suite, transcripts=transcripts, baseline=baseline)
    if format == "json":
        return json_response(report)
    write = junit_of if format == "junit" else page_of_report
    return Response(await services.written(partial(write, report)), media_type=_TYPES[format])


@router.post(
    "/{suite_id}/{command}",
    response_model=Suite,
    dependencies=[accepting_commands],
    responses=response_docs(*_STEERING_ERRORS, "suite_ended", example={**examples.SUITE, "status": "paused"}),
)
async def steer_suite(suite: OwnSuite, command: SuiteCommand, services: ServicesDep) -> Response:
    """`pause`: start no more conversations; those in progress go on. `resume`: start conversations again. `cancel`:
    start no more and end those in progress; their usage is billed."""
    await services.suites.send(suite, command)
    current = await services.suite_store.find(suite.organization_id, suite.id) or suite
    return json_response(services.suite_renderer.suite(current, await services.suite_store.progress(suite.id)))


async def _parse_body(request: Request, threads: ReadingThreads, overrides: SuiteOverrides) -> written.Suite:
    """The suite in a request's body, parsed in a thread because a large text would block the event loop."""
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    text_format = MEDIA_TYPES.get(header.get_content_type())
    if text_format is None:
        accepted = ", ".join(MEDIA_TYPES)
        raise Problem("unsupported_media_type", f"Send the suite with a Content-Type of {accepted}.")
    try:
        return await threads.run(partial(read_suite, await request.body(), text_format, overrides))
    except TimeoutError as error:
        raise invalid("invalid_suite", TOO_SLOW_TO_READ, [(ROOT_PATH, "takes too long to read")]) from error
    except InvalidDefinition as error:
        raise invalid_suite(error) from error
