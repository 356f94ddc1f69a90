"""Routes of the page: its files, and its index for every address that the page itself routes."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from api.page.files import INDEX, PageFile, PageFiles

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads from its own address only; web/vite.config.ts previews it with the same policy."""
VIEWS: Final = ("sessions", "compare", "agents", "suites", "usage", "settings")
"""First parts of the page's own addresses. Everything else without a route is a 404."""
NOT_BUILT: Final = (
    "This is the Playhead API, without its page: the page has not been built.\n"
    "Build it with `make web` in a checkout (it needs Node 20.19 or newer, with npm), then load this address again.\n"
    "The API's routes are listed in /openapi.json; `playhead chat AGENT` talks to an agent from a terminal.\n"
)
_HEADERS: Final = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}


def page_router(files: PageFiles) -> APIRouter:
    """The routes that serve a page from its files."""
    router = APIRouter(include_in_schema=False)

    async def index(request: Request) -> Response:
        """The page's index, for the root and every address of its views."""
        found = files.find(INDEX)
        if found is None:
            return PlainTextResponse(NOT_BUILT, headers={"Cache-Control": "no-cache"})
        return _response(request, found, "no-cache")

    async def asset(request: Request, name: str) -> Response:
        """A file whose name carries the hash of its content."""
        return _response(request, _existing(files.find(f"assets/{name}")), "public, max-age=31536000, immutable")

    async def favicon(request: Request) -> Response:
        """The page's icon."""
        return _response(request, _existing(files.find("favicon.svg")), "no-cache")

    for path in ("/", *(f"/{view}{rest}" for view in VIEWS for rest in ("", "/{rest:path}"))):
        router.add_api_route(path, index)
    router.add_api_route("/assets/{name}", asset)
    router.add_api_route("/favicon.svg", favicon)
    return router


def _existing(found: PageFile | None) -> PageFile:
    if found is None:
        raise HTTPException(404)
    return found


def _response(request: Request, file: PageFile, cache_control: str) -> Response:
    headers = {**_HEADERS, "Cache-Control": cache_control, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    coding, content = file.best_for(request.headers.get("accept-encoding", ""))
    if coding is not None:
        headers["Content-Encoding"] = coding
    return Response(content, media_type=file.media_type, headers=headers)
