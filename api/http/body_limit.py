"""Request bodies: their maximum size, enforced while they are received, and compressed ones."""

import zlib
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import Problem, problem_response

MAX_BODY_BYTES = 1_048_576
"""1 MiB: an agent with hundreds of nodes, or thirty messages of the longest kind. The limit applies to a
compressed body twice: as it is received, and as it is decompressed.
"""
MAX_DOCUMENT_BYTES = 8 * MAX_BODY_BYTES
"""8 MiB: a document that is uploaded, such as a PDF with pictures."""
DOCUMENTS_PATH: Final = "/v1/documents"
_GZIP: Final = 31
"""Window bits of zlib for gzip data with a header."""


class BodyTooLarge(HTTPException):
    """Raised while a body is read. An HTTPException because the framework replaces all others raised there."""

    def __init__(self, size: int, limit: int) -> None:
        detail = f"The body has {size} bytes or more; the maximum is {limit}."
        super().__init__(413, detail)
        self.problem = Problem("too_large", detail, limit=limit, actual=size)


class BodyLimitMiddleware:
    """ASGI middleware that responds with 413 to a body that is announced or received over the limit.

    Bodies in gzip are decompressed, up to the limit; other encodings are answered with 415. Starlette's
    RequestBodyLimitMiddleware does not decompress, and responds in plain text, without the error document.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = MAX_DOCUMENT_BYTES if scope["path"] == DOCUMENTS_PATH else MAX_BODY_BYTES
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            await problem_response(scope, BodyTooLarge(int(announced), limit).problem)(scope, receive, send)
            return
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", ""):
            problem = Problem(
                "unsupported_media_type", "The body may be sent as it is or with `Content-Encoding: gzip`."
            )
            await problem_response(scope, problem)(scope, receive, send)
            return
        body = (_GzipBody if encoding in ("gzip", "x-gzip") else _PlainBody)(receive, limit)
        await self._app(scope, body.receive, send)


class _PlainBody:
    """A body whose size is counted while it is received."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._received = 0

    async def receive(self) -> Message:
        """The next message. Raises BodyTooLarge."""
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._limit:
            raise BodyTooLarge(self._received, self._limit)
        return message


class _GzipBody(_PlainBody):
    """A compressed body. No more of it is decompressed than the limit allows, whatever it would expand to."""

    def __init__(self, receive: Receive, limit: int) -> None:
        super().__init__(receive, limit)
        self._gzip = zlib.decompressobj(_GZIP)
        self._expanded = 0

    async def receive(self) -> Message:
        """The next message, decompressed. Raises BodyTooLarge, or HTTPException for data that is not gzip."""
        message = await super().receive()
        if message["type"] != "http.request":
            return message
        try:
            content = self._gzip.decompress(message.get("body", b""), self._limit + 1 - self._expanded)
        except zlib.error as error:
            raise HTTPException(400, "it is not valid gzip data.") from error
        self._expanded += len(content)
        if self._expanded > self._limit:
            raise BodyTooLarge(self._expanded, self._limit)
        is_last = not message.get("more_body", False)
        if self._gzip.unused_data or (is_last and self._received and not self._gzip.eof):
            raise HTTPException(400, "its gzip data is incomplete, or is followed by other data.")
        return {**message, "body": content}
