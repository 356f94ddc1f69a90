"""The application: settings, a Temporal client and a database in, an ASGI application out. Composition only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from temporalio.client import Client

from api import openapi
from api.http import error_handlers
from api.http.body_limit import BodyLimit
from api.http.request_metrics import RequestMetricsMiddleware
from api.routes import agents, branches, health, sessions, suites, usage
from api.routes.dependencies import build_services
from api.routes.dograh import router as text_chat
from api.routes.openai import router as chat_protocol
from api.settings import ApiSettings
from store.database.connection import Database
from streaming.hub import LiveHub

_ROUTERS: Final = (
    sessions.router,
    branches.router,
    agents.router,
    suites.router,
    usage.router,
    health.router,
    text_chat,
    chat_protocol,
)


def create_app(settings: ApiSettings, *, client: Client, database: Database, hub: LiveHub | None = None) -> FastAPI:
    """The API. Client and database stay the caller's to close; neither needs to be reachable yet.

    What the hub is told is sent to those who watch; without one, they are told what is logged, after a heartbeat.
    """
    services = build_services(settings, client, database, hub or LiveHub())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with services.availability.watched():
            yield

    app = FastAPI(
        title="Playhead",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Routes of the application itself: a router that is included is searched and resolved again at each request.
        routes=[route for router in _ROUTERS for route in router.routes],
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestMetricsMiddleware, metrics=services.metrics)
    error_handlers.install(app)
    openapi.install(app)
    return app


def _version() -> str:
    try:
        return version("playhead")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0.0.0"
