"""The OpenAPI document: generated from the routes, with the error document and the API keys added."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http.problems import ProblemDocument
from api.routes import dograh_embed, webhooks
from domain.suites.scenario import Suite

DESCRIPTION = """\
Conversations with an agent as durable workflows: they survive crashes, can be rewound, and are billed exactly.

Errors are `application/problem+json` with a stable `code`. Lists are pages: `?limit=` and `?cursor=`.
Times are RFC 3339 in UTC, amounts of money are decimals in strings. Unknown fields in a body are rejected.
"""


WEBHOOK_SCHEMAS: Final = ("Usage", "Cost")
"""Models that responses and webhooks each define separately. Those of responses keep the plain name."""


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
        "key": {"type": "http", "scheme": "bearer", "description": "An API key. `playhead dev` needs none."},
        "header": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "The same key, in dograh's way.",
        },
    }
    _name_schemas(document)
    for path, operations in document["paths"].items():
        if path.startswith(("/v1/", "/api/v1/")):
            is_public = path.startswith(f"{dograh_embed.PREFIX}/")
            for operation in operations.values():
                operation["security"] = [] if is_public else [{"key": []}, {"header": []}]
                _remove_validation_error(operation["responses"])
    return document


def _remove_validation_error(responses: dict[str, Any]) -> None:
    """Remove the framework's 422 where a route has none: below OpenAI's paths such a request is a 400."""
    content = responses.get("422", {}).get("content", {}).get("application/json", {})
    if content.get("schema") == {"$ref": "#/components/schemas/HTTPValidationError"}:
        del responses["422"]


def _name_schemas(document: dict[str, Any]) -> None:
    """Name the models of responses without a suffix, and those of webhooks after their use."""
    schemas = document["components"]["schemas"]
    names = {f"{name}-Output": name for name in WEBHOOK_SCHEMAS} | {
        f"{name}-Input": f"Webhook{name}" for name in WEBHOOK_SCHEMAS
    }
    document["components"]["schemas"] = {names.get(name, name): schema for name, schema in schemas.items()}
    _rename_references(
        document, {f"#/components/schemas/{old}": f"#/components/schemas/{new}" for old, new in names.items()}
    )


def _rename_references(node: Any, names: Mapping[str, str]) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list):
            _rename_references(value, names)
        elif key == "$ref" and value in names:
            node[key] = names[value]
