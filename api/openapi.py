"""The OpenAPI document: generated from the routes, with the error document and the API keys added."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http.problems import ProblemDocument
from api.routes import webhooks
from domain.suites.scenario import Suite

DESCRIPTION = """\
Conversations with an agent as durable workflows: they survive crashes, can be rewound, and are billed exactly.

Errors are `application/problem+json` with a stable `code`. Lists are pages: `?limit=` and `?cursor=`.
Times are RFC 3339 in UTC, amounts of money are decimals in strings. Unknown fields in a body are rejected.
"""


def install(app: FastAPI) -> None:
    """Set the OpenAPI document of the application. It is generated at the first request for it."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_additions(
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


def _with_additions(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    # Models that no route declares: errors, and suites, whose text is parsed by the route itself.
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
