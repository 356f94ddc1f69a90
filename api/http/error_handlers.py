"""The framework's own errors in the form of the error table: wrong values, unknown addresses, broken JSON."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.http.body_limit import BodyTooLarge
from api.http.problems import Problem, handle_problem, invalid, plain_problem_response, unavailable
from domain.agents.validation_errors import format_path
from store.database.errors import StoreUnavailable

_CODES = {404: "not_found", 405: "method_not_allowed"}
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is no field of this request",
    "model_attributes_type": "must be a JSON object",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
}
"""Pydantic's messages where plainer words are at hand, by the type of the error."""


def install(app: FastAPI) -> None:
    """Answer every expected exception below the routes with problem+json."""
    app.add_exception_handler(Problem, handle_problem)  # type: ignore[arg-type]  # Starlette types handlers by Exception
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(StoreUnavailable, _answer_store_unavailable)


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return validation_problem(error).response()


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyTooLarge):
        return error.problem.response()
    detail = str(error.detail)
    code = _CODES.get(error.status_code)
    if error.status_code == 400:
        return unreadable_body(detail).response()
    if code is None:
        return plain_problem_response(error.status_code, detail, error.headers)
    if code == "not_found":
        detail = f"There is nothing at {request.url.path}. The routes are listed in /openapi.json."
    elif code == "method_not_allowed":
        detail = f"{request.url.path} does not take {request.method}."
    return Problem(code, detail).with_headers(error.headers).response()


async def _answer_store_unavailable(request: Request, error: Exception) -> Response:
    return store_unavailable().response()


def store_unavailable() -> Problem:
    """The answer while the store is away."""
    return unavailable("store", "The store cannot be reached. Nothing was accepted; try again in a second.")


def unreadable_body(detail: str) -> Problem:
    """The answer to a body that broke off or is no JSON."""
    return Problem("invalid_request", f"The body could not be read: {detail}")


def validation_problem(error: RequestValidationError) -> Problem:
    """The answer to a request of the wrong form, with every place that is at fault."""
    faults: Sequence[Any] = error.errors()
    first = faults[0]
    if first["type"] == "json_invalid":
        return _broken_json(error, first)
    if first["loc"] == ("body",) and isinstance(first.get("input"), bytes):
        return Problem("unsupported_media_type", "The body must be JSON, sent with `Content-Type: application/json`.")
    errors = [(format_path(fault["loc"]), _message(fault)) for fault in faults]
    place, message = errors[0]
    for fault in faults:
        if fault["type"] == "too_large":
            return invalid("too_large", f"{format_path(fault['loc'])} {_message(fault)}.", errors, **fault["ctx"])
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return invalid("validation_error", f"The request has the wrong form: {place} {message}{more}.", errors)


def _broken_json(error: RequestValidationError, fault: Any) -> Problem:
    document = error.body if isinstance(error.body, str) else ""
    before = document[: fault["loc"][-1]]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    said = f"line {line}, column {column}: {fault['ctx']['error']}"
    return invalid("invalid_request", f"The body is no JSON: {said}.", [("body", said)])


def _message(fault: Any) -> str:
    if fault["type"] in _MESSAGES:
        return _MESSAGES[fault["type"]]
    message: str = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]
