"""Paths of OpenAI's protocol: served in every form in which clients write them, with errors in the protocol's form."""

import re
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import PROBLEM_FORM, Problem
from api.openai.errors import ChatError

_AREAS: Final = frozenset(
    {
        *("answers", "assistants", "audio", "batches", "chat", "chatkit", "classifications", "completions"),
        *("containers", "conversations", "edits", "embeddings", "engines", "evals", "files", "fine-tunes"),
        *("fine_tuning", "graders", "images", "models", "moderations", "organization", "realtime", "responses"),
        *("skills", "threads", "uploads", "vector_stores", "videos"),
    }
)
"""First parts of the protocol's paths below `/v1`. No other route of this API begins with one of them."""
_USE: Final = {
    "completions": "Use POST /v1/chat/completions with `messages` in place of `prompt`.",
    "embeddings": "This API serves conversations with agents. Use the API of an embedding model for embeddings.",
}
_SLASHES: Final = re.compile("/{2,}")


class ChatPathsMiddleware:
    """ASGI middleware that finds the protocol's paths, also with double or trailing slashes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = _SLASHES.sub("/", scope["path"]).rstrip("/")
            area = _area_of(path)
            if area is not None:
                # Changed in place: the log line of the request is about the same scope.
                scope["path"] = path
                scope[PROBLEM_FORM] = lambda problem: _response(problem, path, area)
        await self._app(scope, receive, send)


def problem_response_at(path: str, problem: Problem) -> Response:
    """A problem of a connection as the response to a request for this path, which is empty while it is unknown.

    Without a path the document has the error in both forms: OpenAI's clients read its member `error`.
    """
    path = _SLASHES.sub("/", path).rstrip("/")
    if area := _area_of(path):
        return _response(problem, path, area)
    if path:
        return problem.response()
    error = ChatError.of(problem)
    figures = {**problem.figures, "error": error.body.model_dump(mode="json")}
    return Problem(problem.code, problem.detail, **figures).response()


def _area_of(path: str) -> str | None:
    """The part of the protocol that a path belongs to; None for other paths of this API."""
    version, _, rest = path.removeprefix("/").partition("/")
    area = rest.partition("/")[0]
    return area if version == "v1" and area in _AREAS else None


def _response(problem: Problem, path: str, area: str) -> Response:
    """The response to a problem outside the protocol's routes: an unknown path, or an error in the middleware."""
    if problem.code == "not_found":
        use = _USE.get(area, "GET /v1/models lists the agents; POST /v1/chat/completions talks to one.")
        return ChatError(404, "unknown_url", f"{path} is not served here. {use}").response()
    return ChatError.of(problem).response()
