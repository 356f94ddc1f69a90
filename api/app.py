"""Composition of the API: builds the ASGI application from its settings, a Temporal client and a database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send
from temporalio.client import Client

from api import openapi
from api.dograh.embed_chats import Clock, utc_now
from api.http import error_handlers
from api.http.body_limit import BodyLimitMiddleware
from api.http.head_requests import HeadMiddleware
from api.http.request_metrics import RequestMetricsMiddleware, UnexpectedErrorMiddleware
from api.openai.paths import ChatPathsMiddleware
from api.page.files import PageFiles
from api.page.routes import page_router
from api.routes import about, agents, branches, documents, health, sessions, suites, usage
from api.routes.dependencies import build_services
from api.routes.dograh import listing as dograh_listing
from api.routes.dograh import router as dograh_router
from api.routes.dograh_embed import PREFIX as EMBED_PREFIX
from api.routes.dograh_embed import router as embed_router
from api.routes.openai import router as openai_router
from api.routes.openai_responses import router as openai_responses_router
from api.settings import ApiSettings
from store.database.connection import Database
from streaming.hub import LiveHub

EXPOSED_HEADERS: Final = (
    *("Allow", "Content-Disposition", "ETag", "Last-Event-ID", "Location", "Retry-After", "WWW-Authenticate"),
    *("X-Ignored-Parameters", "X-Request-Id", "X-Session-Id", "X-Should-Retry"),
)
"""Headers of responses that pages of allowed origins may read."""
_ROUTERS: Final = (
    sessions.router,
    branches.router,
    agents.router,
    documents.router,
    suites.router,
    usage.router,
    about.router,
    health.router,
    dograh_listing,
    dograh_router,
    embed_router,
    openai_router,
    openai_responses_router,
)


class KeyedCorsMiddleware(CORSMiddleware):
    """CORS by the setting, for routes that need a key. Public chats allow the origins of their tokens instead."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_public = scope["type"] == "http" and scope["path"].startswith(f"{EMBED_PREFIX}/")
        await (self.app if is_public else super().__call__)(scope, receive, send)


def create_app(
    settings: ApiSettings, *, client: Client, database: Database, hub: LiveHub | None = None, clock: Clock = utc_now
) -> FastAPI:
    """The API as an ASGI application. The caller closes client and database; neither needs to be reachable yet.

    Events published to the hub are streamed to watchers at once; without a hub, watchers get logged events at the
    next keepalive. `clock` returns the time for the rates and the expiry of public chats.
    """
    services = build_services(settings, client, database, hub or LiveHub(), clock=clock)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with services.availability.monitored():
            yield

    app = FastAPI(
        title="Playhead",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Added directly: an included router would be searched and resolved again at each request.
        routes=[route for router in (*_ROUTERS, page_router(PageFiles())) for route in router.routes],
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    # The last one is the outermost.
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(UnexpectedErrorMiddleware)
    app.add_middleware(ChatPathsMiddleware)
    if settings.allowed_origins:
        app.add_middleware(
            KeyedCorsMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
            allow_headers=("*",),  # keys come in headers, never in cookies; OpenAI's client adds any number of its own
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(RequestMetricsMiddleware, metrics=services.metrics)
    app.add_middleware(HeadMiddleware)
    error_handlers.install(app)
    openapi.install(app)
    return app


def _version() -> str:
    try:
        return version("playhead")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0.0.0"
