"""Health and metrics routes."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ConfigDict
from starlette.responses import Response

from api.http.problems import error_docs
from api.http.responses import json_response
from api.routes.dependencies import ServicesDep
from api.schemas.responses import Representation

router = APIRouter(tags=["health"])

_METRICS_EXAMPLE = 'playhead_http_requests_total{method="GET",route="/v1/sessions",status="200"} 3.0\n'


class Health(Representation):
    """Health of the process: alive, or ready."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: str


@router.get(
    "/healthz", response_model=Health, responses={200: {"content": {"application/json": {"example": {"status": "ok"}}}}}
)
async def alive() -> Response:
    """Liveness of the process, independent of the store and Temporal."""
    return json_response(Health(status="ok"))


@router.get(
    "/readyz",
    response_model=Health,
    responses={
        200: {"content": {"application/json": {"example": {"status": "ready"}}}},
        **error_docs("unavailable"),
    },
)
async def ready(services: ServicesDep) -> Response:
    """Readiness: Temporal and the store were reachable at the last check; checks are a second apart."""
    error = services.availability.error()
    if error is not None:
        raise error
    return json_response(Health(status="ready"))


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"example": _METRICS_EXAMPLE}}, "description": "Prometheus text format"}
    },
)
async def metrics(services: ServicesDep) -> Response:
    """Prometheus metrics: requests by route, method and status, their duration, and turns by status."""
    return Response(generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)
