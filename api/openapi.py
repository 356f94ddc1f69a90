"""The OpenAPI document: what the framework derives from the routes, with the error document and the keys added."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http.problems import ProblemDocument
from api.routes import webhooks
from domain.suites.scenario import Suite

DESCRIPTION = """\
Conversations with an agent as durable workflows: alive across crashes, rewindable, truthfully billed.

Errors are `application/problem+json` with a stable `code`. Lists are pages: `?limit=` and `?cursor=`.
Times are RFC 3339 in UTC, amounts of money are decimals in strings. Unknown fields in a body are refused.
"""


def install(app: FastAPI) -> None:
    """Let the application describe itself; the document is made once, when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=DESCRIPTION,
                    routes=app.routes,
                    webhooks=webhooks.router.routes,
                )
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the framework's own way to replace its document


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    # What no route names as its model: errors, and a suite, whose text is read by the route itself.
    for name, form in (("Problem", ProblemDocument), ("SuiteDefinition", Suite)):
        schema = form.model_json_schema(ref_template="#/components/schemas/{model}")
        components["schemas"].update(schema.pop("$defs", {}))
        components["schemas"][name] = schema
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key. `playhead dev` needs none."}
    }
    for path, operations in document["paths"].items():
        if path.startswith(("/v1/", "/api/v1/")):
            for operation in operations.values():
                operation["security"] = [{"key": []}]
    return document
