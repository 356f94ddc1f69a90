"""The client's own models have the fields of the API: the same names, types, enums, defaults and required fields."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel

import playhead_client.models
from api.schemas import events as api_events
from playhead_client.models import agents, documents, events, new_sessions, sessions, suites, usage
from playhead_client.models.response_model import ResponseModel
from tests.playhead_client.openapi import Document, Schema

COMPONENTS: Mapping[str, type[BaseModel]] = {
    "Accepted": sessions.Accepted,
    "About": usage.About,
    "Agent": agents.Agent,
    "AgentDryRun": agents.AgentDryRun,
    "AgentVersionSummary": agents.AgentVersionSummary,
    "Branch": sessions.Branch,
    "CallerConfig": new_sessions.SimulatorConfig,
    "Comparison": sessions.Comparison,
    "Document": documents.Document,
    "LedgerRow": usage.LedgerRow,
    "OrganizationUsage": usage.OrganizationUsage,
    "Session": sessions.Session,
    "SessionLimits": new_sessions.SessionLimits,
    "SessionSummary": sessions.SessionSummary,
    "Step": sessions.Step,
    "Suite": suites.Suite,
    "SuiteReport": suites.SuiteReport,
    "SuiteRun": suites.SuiteRun,
    "SuiteSummary": suites.SuiteSummary,
    "TreeTurn": sessions.TreeTurn,
}
"""Models of requests and responses by their names in the document; models inside these are compared with them."""
EVENTS: Mapping[type[BaseModel], type[BaseModel]] = {
    api_events.TurnStarted: events.TurnStarted,
    api_events.ReplyDelta: events.ReplyDelta,
    api_events.ReplyReset: events.ReplyReset,
    api_events.TurnClosed: events.TurnClosed,
}
"""Data of events, which an OpenAPI document cannot describe."""
ALTERNATIVES = ("anyOf", "oneOf")
COMPARED = ("type", "format", "enum", "const", "default")
"""Lengths and ranges are left out: the API checks them, and a newer one may allow more."""


def shape(schema: Schema, definitions: Mapping[str, Schema]) -> Any:
    """A schema without its references, texts and bounds."""
    if "$ref" in schema:
        return shape(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    # The document leaves out defaults that are null.
    kept = {name: schema[name] for name in COMPARED if schema.get(name) is not None}
    for name in ALTERNATIVES:
        if name in schema:
            kept["any of"] = sorted((shape(option, definitions) for option in schema[name]), key=repr)
    if "items" in schema:
        kept["items"] = shape(schema["items"], definitions)
    if isinstance(schema.get("additionalProperties"), dict):
        kept["values"] = shape(schema["additionalProperties"], definitions)
    if "properties" in schema:
        required = set(schema.get("required", ()))
        kept["fields"] = {
            name: {"required": name in required, **shape(field, definitions)}
            for name, field in schema["properties"].items()
        }
    return kept


def shape_of(model: type[BaseModel], *, sent: bool = False) -> Any:
    schema = model.model_json_schema(mode="validation" if sent else "serialization")
    return shape(schema, schema.get("$defs", {}))


@pytest.mark.parametrize("name", COMPONENTS)
def test_model_agrees_with_the_openapi_document(name: str, document: Document) -> None:
    model = COMPONENTS[name]
    described = shape(document.components[name], document.components)
    assert shape_of(model, sent=model.__module__ == new_sessions.__name__) == described, (
        f"{model.__name__} in playhead_client differs from {name} in openapi.json: change it with the API"
    )


@pytest.mark.parametrize("ours", EVENTS, ids=lambda ours: ours.__name__)
def test_model_of_an_event_agrees_with_the_api(ours: type[BaseModel]) -> None:
    assert shape_of(EVENTS[ours]) == shape_of(ours)


def test_every_model_is_compared() -> None:
    compared: set[type[BaseModel]] = {*COMPONENTS.values(), *EVENTS.values(), events.Happened, ResponseModel}
    inside = {name for model in compared for name in model.model_json_schema().get("$defs", {})}
    models = [
        value
        for module in pkgutil.iter_modules(playhead_client.models.__path__, "playhead_client.models.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__.startswith("playhead_client")
    ]
    public = [model for model in models if not model.__name__.startswith("_")]
    missing = {model.__name__ for model in public if model not in compared and model.__name__ not in inside}
    assert not missing, f"add to COMPONENTS or EVENTS: {sorted(missing)}"
