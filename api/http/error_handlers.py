"""Exception handlers: errors of the framework as entries of the error table."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.http.body_limit import BodyTooLarge
from api.http.problems import Problem, handle_problem, invalid, plain_problem_response, problem_response, unavailable
from domain.agents.validation_errors import MAX_LISTED_ISSUES, format_path
from store.database.errors import StoreUnavailable

_CODES = {404: "not_found", 405: "method_not_allowed"}
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "model_attributes_type": "must be a JSON object",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
}
"""Plainer messages than Pydantic's, by error type."""


def install(app: FastAPI) -> None:
    """Register the handlers, so that every expected exception is answered with problem+json."""
    app.add_exception_handler(Problem, handle_problem)  # type: ignore[arg-type]  # Starlette types handlers by Exception
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_exception_handler(StoreUnavailable, _handle_store_unavailable)


async def _handle_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(request.scope, validation_problem(error))


async def _handle_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyTooLarge):
        return problem_response(request.scope, error.problem)
    detail = str(error.detail)
    code = _CODES.get(error.status_code)
    if error.status_code == 400:
        return problem_response(request.scope, unreadable_body(detail))
    if code is None:
        return plain_problem_response(error.status_code, detail, error.headers)
    if code == "not_found":
        detail = f"There is no route {request.url.path}. The routes are listed in /openapi.json."
    elif code == "method_not_allowed":
        detail = f"{request.url.path} does not support {request.method}."
        error.headers = {"Allow": ", ".join(_allowed_methods(request))}
    return problem_response(request.scope, Problem(code, detail).with_headers(error.headers))


def _allowed_methods(request: Request) -> list[str]:
    """The methods of every route with this path: the framework names those of the first one only."""
    path = request.scope["path"]
    routes = [route for route in request.app.routes if isinstance(route, Route) and route.path_regex.match(path)]
    methods = {method for route in routes for method in route.methods or ()}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


async def _handle_store_unavailable(request: Request, error: Exception) -> Response:
    return problem_response(request.scope, store_unavailable())


def store_unavailable() -> Problem:
    """The problem for a store that cannot be reached."""
    return unavailable("store", "The store cannot be reached. Nothing was accepted; try again in a second.")


def unreadable_body(detail: str) -> Problem:
    """The problem for a body that is incomplete or not JSON."""
    return Problem("invalid_request", f"The body could not be read: {detail}")


def validation_problem(error: RequestValidationError) -> Problem:
    """The problem for an invalid request, with the path of every invalid value."""
    found: Sequence[Any] = error.errors()
    first = found[0]
    if first["type"] == "json_invalid":
        return _broken_json(error, first)
    if first["loc"] == ("body",) and isinstance(first.get("input"), bytes):
        return Problem("unsupported_media_type", "The body must be JSON, sent with `Content-Type: application/json`.")
    messages: dict[tuple[int | str, ...], str] = {}
    for each in found:
        location = _location(each, error.body)
        messages.setdefault(location, _message(each))
        if each["type"] == "too_large":
            place = format_path(location)
            return invalid("too_large", f"{place} {_message(each)}.", [(place, _message(each))], **each["ctx"])
    # A value that fits no member of a union has an error for each of them: the innermost are the most specific.
    outer = {location[:length] for location in messages for length in range(len(location))}
    errors = [(format_path(location), message) for location, message in messages.items() if location not in outer]
    place, message = errors[0]
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = f"The request is invalid: {place} {message}{more}."
    return invalid("validation_error", detail, errors[:MAX_LISTED_ISSUES])


def _location(fault: Any, body: Any) -> tuple[int | str, ...]:
    """The location of an invalid value in the request, without the types that Pydantic tried for it."""
    location: tuple[int | str, ...] = tuple(fault["loc"])
    source, *inside = location
    if source != "body":
        return location
    path: list[int | str] = [source]
    value = body
    for number, part in enumerate(inside, start=1):
        is_named = number == len(inside) and fault["type"] in ("missing", "extra_forbidden")
        is_key = isinstance(value, dict) and part in value
        if is_key or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        elif not is_named:
            continue
        path.append(part)
    return tuple(path)


def _broken_json(error: RequestValidationError, fault: Any) -> Problem:
    document = error.body if isinstance(error.body, str) else ""
    before = document[: fault["loc"][-1]]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    position = f"line {line}, column {column}: {fault['ctx']['error']}"
    return invalid("invalid_request", f"The body is not valid JSON: {position}.", [("body", position)])


def _message(fault: Any) -> str:
    if fault["type"] in _MESSAGES:
        return _MESSAGES[fault["type"]]
    message: str = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]
