"""Routes of dograh's public embed: a page's visitors hold text chats, with the page's embed token and without a key."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.dograh import embed_errors, embed_examples, embed_schemas
from api.dograh.embed_chats import EmbedChat, EmbedChats, Visitor
from api.dograh.embed_schemas import InitBody, PublicEndBody, PublicMessageBody
from api.dograh.errors import Detail, error_response
from api.http.client_address import client_address
from api.http.problems import Problem
from api.http.responses import json_response
from api.routes.dependencies import Services, ServicesDep, accepting_commands, log_subject
from domain.dograh.origins import allows
from store.database.errors import StoreUnavailable
from store.embed import EmbedSession, EmbedToken

PREFIX: Final = "/api/v1/public/embed"
PREFLIGHT_SECONDS: Final = 600
"""Time for which a browser may cache the response to a preflight."""
_ALLOWED_METHODS: Final = "GET, POST, OPTIONS"
_ALLOWED_HEADERS: Final = "Content-Type"
_TOKEN_SCOPE: Final = "playhead.embed_token"
"""The entry of a request's scope that holds the embed token, as soon as it is known."""

EmbedSecret = Annotated[str, Path(description="The page's embed token.")]
VisitorSecret = Annotated[str, Path(description="`session_token` of the visitor.")]


class EmbedRoute(APIRoute):
    """A route for pages of other origins, whose errors have the form `{"detail": ...}` and no operator's details.

    Pages of the token's own origins may read the responses. When the token is not known, as in an error about an
    unknown one, pages of the origins of any token may.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler with its exceptions turned into responses, and with the headers of CORS."""
        handle = super().get_route_handler()

        async def handle_for_page(request: Request) -> Response:
            try:
                response = await handle(request)
            except Problem as problem:
                response = embed_errors.public_error(problem)
            except RequestValidationError as error:
                response = error_response(422, jsonable_encoder(error.errors()))
            except HTTPException as error:
                response = error_response(error.status_code, error.detail, error.headers)
            except StoreUnavailable:
                response = error_response(503, embed_errors.UNAVAILABLE)
            response.headers.update(await _cors_headers(request))
            return response

        return handle_for_page


router = APIRouter(prefix=PREFIX, tags=["dograh public embed"], route_class=EmbedRoute)


def _chats(services: ServicesDep) -> EmbedChats:
    return services.embed_chats


def _visitor(request: Request, services: ServicesDep) -> Visitor:
    return Visitor(origin=_page_origin(request), address=client_address(request, services.trusted_proxies))


Chats = Annotated[EmbedChats, Depends(_chats)]
From = Annotated[Visitor, Depends(_visitor)]


async def _chat(request: Request, session_token: VisitorSecret, chats: Chats, visitor: From) -> EmbedChat:
    found = await chats.session(session_token)
    if found is None:
        await chats.limit_reads(visitor)
    return await _opened(request, found, chats, visitor)


async def _read_chat(request: Request, session_token: VisitorSecret, chats: Chats, visitor: From) -> EmbedChat:
    await chats.limit_reads(visitor)
    return await _opened(request, await chats.session(session_token), chats, visitor)


async def _opened(request: Request, found: EmbedSession | None, chats: EmbedChats, visitor: Visitor) -> EmbedChat:
    if found is not None:
        _note(request, found.token)
    chat = await chats.chat(found, visitor)
    log_subject(request, "session", chat.session.id)
    return chat


OwnChat = Annotated[EmbedChat, Depends(_chat)]
"""The visitor's chat, for a message, which has rate limits of its own."""
ReadChat = Annotated[EmbedChat, Depends(_read_chat)]


def _docs(example: object, *statuses: int) -> dict[int | str, dict[str, Any]]:
    described: Mapping[int, tuple[str, object]] = {
        400: ("The chat has ended", embed_errors.COMPLETED),
        402: ("The organization may not spend more", embed_errors.UNAVAILABLE),
        403: ("The token was revoked, has expired, is used up, or is not for this page", embed_errors.INACTIVE),
        404: ("No such token or chat", embed_errors.INVALID_SESSION),
        409: (
            "The chat has changed",
            {"message": "Text chat session revision conflict", "expected_revision": 2, "actual_revision": 4},
        ),
        422: ("A value has the wrong form", [{"type": "missing", "loc": ["body", "text"], "msg": "Field required"}]),
        429: ("Too many requests, or the chat has all of its 50 turns", embed_errors.LAST_TURN),
        500: ("The agent or the server failed", embed_errors.FAILED),
        503: ("The agent is unavailable", embed_errors.UNAVAILABLE),
        504: ("The wait ended before the turn did", embed_errors.SLOW),
    }
    errors: dict[int | str, dict[str, Any]] = {
        status: {
            "description": described[status][0],
            "content": {"application/json": {"example": {"detail": described[status][1]}}},
            "model": Detail,
        }
        for status in statuses
    }
    return {200: {"content": {"application/json": {"example": example}}}, **errors}


@router.get(
    "/config/{token}",
    response_model=embed_schemas.WidgetConfig,
    responses=_docs(embed_examples.CONFIG, 403, 404, 422, 429, 500, 503),
)
async def get_embed_config(request: Request, token: EmbedSecret, chats: Chats, visitor: From) -> Response:
    """The configuration of dograh's widget for a page's embed token. Opens no chat."""
    await chats.limit_reads(visitor)
    return json_response(await chats.configuration(_note(request, await chats.token(token)), visitor))


@router.post(
    "/init",
    response_model=embed_schemas.OpenedChat,
    dependencies=[accepting_commands],
    responses=_docs(embed_examples.OPENED, 402, 403, 404, 422, 429, 500, 503, 504),
)
async def open_embed_chat(request: Request, body: InitBody, chats: Chats, visitor: From) -> Response:
    """Open a chat with a page's embed token, and respond when the greeting is complete."""
    await chats.limit_openings(visitor)
    token = _note(request, await chats.token(body.token))
    opened, session = await chats.open(token, visitor, body.context_variables)
    log_subject(request, "session", session.id)
    return json_response(opened)


@router.get(
    "/chat/{session_token}",
    response_model=embed_schemas.PublicChat,
    responses=_docs(embed_examples.CHAT, 403, 404, 422, 429, 500, 503),
)
async def get_embed_chat(chat: ReadChat, chats: Chats) -> Response:
    """The visitor's chat."""
    return json_response(await chats.view(chat.session))


@router.post(
    "/chat/{session_token}/messages",
    response_model=embed_schemas.PublicChat,
    dependencies=[accepting_commands],
    responses=_docs(embed_examples.CHAT, 400, 402, 403, 404, 409, 422, 429, 500, 503, 504),
)
async def send_embed_message(chat: OwnChat, body: PublicMessageBody, chats: Chats, visitor: From) -> Response:
    """Send a visitor's message, and respond when the agent has replied. A chat has 50 turns at most."""
    return json_response(await chats.send(chat, visitor, body.text, body.expected_revision))


@router.post(
    "/chat/{session_token}/end",
    response_model=embed_schemas.PublicChat,
    dependencies=[accepting_commands],
    responses=_docs(embed_examples.CHAT, 403, 404, 409, 422, 429, 500, 503),
)
async def end_embed_chat(chat: ReadChat, chats: Chats, body: PublicEndBody | None = None) -> Response:
    """End the visitor's chat. Ending it again changes nothing."""
    return json_response(await chats.end(chat, body.expected_revision if body else None))


@router.options("/init", include_in_schema=False)
async def allow_opening() -> Response:
    """The preflight of an opening, whose token is in the body: pages of the origins of any token may send one."""
    return _preflight()


@router.options("/config/{token}", include_in_schema=False)
async def allow_config(request: Request, token: EmbedSecret, chats: Chats) -> Response:
    """The preflight of a configuration."""
    _note(request, await chats.token(token))
    return _preflight()


@router.options("/chat/{session_token}", include_in_schema=False)
@router.options("/chat/{session_token}/messages", include_in_schema=False)
@router.options("/chat/{session_token}/end", include_in_schema=False)
async def allow_chat(request: Request, session_token: VisitorSecret, chats: Chats) -> Response:
    """The preflight of a chat."""
    found = await chats.session(session_token)
    _note(request, found.token if found else None)
    return _preflight()


def _preflight() -> Response:
    """A preflight. The browser goes on only if the page's origin is allowed too, which every response says."""
    return Response(
        headers={
            "Access-Control-Allow-Methods": _ALLOWED_METHODS,
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
    )


def _note(request: Request, token: EmbedToken | None) -> EmbedToken | None:
    """Note the token of a request, for the headers of its response and for the log."""
    if token is not None:
        request.scope[_TOKEN_SCOPE] = token
        log_subject(request, "organization", token.organization_id)
        log_subject(request, "embed_token", token.id)
    return token


async def _cors_headers(request: Request) -> dict[str, str]:
    origins = request.headers.getlist("origin")
    vary = {"Vary": "Origin"}
    if len(origins) != 1:
        return vary
    origin = origins[0]
    token: EmbedToken | None = request.scope.get(_TOKEN_SCOPE)
    if not (allows(token.origins, origin) if token else await _is_known(request, origin)):
        return vary
    return {**vary, "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After, X-Request-Id"}


async def _is_known(request: Request, origin: str) -> bool:
    services: Services = request.app.state.services
    try:
        return await services.embed_chats.is_known_origin(origin)
    except StoreUnavailable:
        return False


def _page_origin(request: Request) -> str | None:
    """The origin of the page. Requests to the page's own origin may have no Origin header: then that of the Referer."""
    origins = request.headers.getlist("origin")
    if origins:
        return origins[0] if len(origins) == 1 else None
    scheme, separator, rest = request.headers.get("referer", "").partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if separator else None
