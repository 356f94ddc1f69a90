"""Maximum size of request bodies, enforced while they are received."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import Problem

MAX_BODY_BYTES = 1_048_576
"""1 MiB: an agent with hundreds of nodes, or thirty messages of the longest kind."""


class BodyTooLarge(HTTPException):
    """Raised while a body is read. An HTTPException because the framework replaces all others raised there."""

    def __init__(self, size: int) -> None:
        detail = f"The body has {size} bytes or more; the maximum is {MAX_BODY_BYTES}."
        super().__init__(413, detail)
        self.problem = Problem("too_large", detail, limit=MAX_BODY_BYTES, actual=size)


class BodyLimitMiddleware:
    """ASGI middleware that responds with 413 to a body that is announced or received over the limit.

    Starlette's RequestBodyLimitMiddleware does the same but responds in plain text, without the error document.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
            await BodyTooLarge(int(announced)).problem.response()(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise BodyTooLarge(received)
            return message

        await self._app(scope, receive_counted, send)
