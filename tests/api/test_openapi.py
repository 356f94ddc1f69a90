"""The OpenAPI document: valid, complete, and with examples that match their models."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from temporalio.client import Client

from api.app import create_app
from api.dograh import schemas
from api.http.problems import PROBLEM_TYPES
from api.openai import schemas as chat_forms
from api.schemas import responses
from api.schemas.examples import SESSION_COMPLETED
from api.schemas.requests import EndBody, NewMessage, NewSession, RewindBody
from domain.agents.definition import parse_definition
from domain.webhooks.session_report import SessionCompleted
from store.database.connection import Database
from tests.api.conftest import quick_settings
from tests.support.running_api import Json, RunningApi, done

OF_CHAT_PROTOCOL = {
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "POST /v1/responses",
    "GET /v1/responses/{response_id}",
    "DELETE /v1/responses/{response_id}",
}
"""Their errors have OpenAI's form."""
PUBLIC = {
    "GET /api/v1/public/embed/config/{token}",
    "POST /api/v1/public/embed/init",
    "GET /api/v1/public/embed/chat/{session_token}",
    "POST /api/v1/public/embed/chat/{session_token}/messages",
    "POST /api/v1/public/embed/chat/{session_token}/end",
}
"""They need the token of a page or of its visitor, and no key."""
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
async def document(new_database: Callable[[str], str]) -> Json:
    unreachable = await Client.connect("127.0.0.1:1", lazy=True)
    url = new_database("sqlite")
    app = create_app(quick_settings(url, "none").api(), client=unreachable, database=Database.open(url))
    return app.openapi()


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method.upper()} {path}", operation


def every_value(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from every_value(value)
    elif isinstance(node, list):
        for value in node:
            yield from every_value(value)


async def test_the_document_is_served(running_api: RunningApi) -> None:
    async with running_api.stranger() as reader:
        served = done(await reader.get("/openapi.json"), 200)
    assert served["openapi"].startswith("3.1")
    OpenAPI.model_validate(served)


def test_every_route_of_the_contract_is_described(document: Json) -> None:
    assert {name for name, _ in operations(document)} == PUBLIC | {
        "POST /v1/agents",
        "GET /v1/agents",
        "GET /v1/sessions/{session_id}/events",
        "POST /v1/sessions/{session_id}/events/ticket",
        "GET /v1/about",
        "GET /v1/agents/{agent_id}",
        "GET /v1/agents/{agent_id}/versions",
        "GET /v1/agents/{agent_id}/versions/{version}",
        "DELETE /v1/agents/{agent_id}",
        "POST /v1/documents",
        "GET /v1/documents",
        "GET /v1/documents/{sha256}",
        "DELETE /v1/documents/{sha256}",
        "POST /v1/sessions",
        "GET /v1/sessions",
        "GET /v1/sessions/{session_id}",
        "DELETE /v1/sessions/{session_id}",
        "GET /v1/sessions/{session_id}/tree",
        "GET /v1/sessions/{session_id}/turns",
        "GET /v1/sessions/{session_id}/turns/{turn_id}/steps",
        "GET /v1/sessions/{session_id}/branches",
        "GET /v1/sessions/{session_id}/branches/compare",
        "GET /v1/sessions/{session_id}/transcript",
        "POST /v1/sessions/{session_id}/messages",
        "POST /v1/sessions/{session_id}/rewind",
        "POST /v1/sessions/{session_id}/turns/{turn_id}/edit",
        "POST /v1/sessions/{session_id}/turns/{turn_id}/regenerate",
        "POST /v1/sessions/{session_id}/cancel",
        "POST /v1/sessions/{session_id}/branches/{branch_id}/restore",
        "POST /v1/sessions/{session_id}/fork",
        "POST /v1/sessions/{session_id}/approvals/{call_id}/{decision}",
        "POST /v1/sessions/{session_id}/client-calls/{call_id}/result",
        "PUT /v1/sessions/{session_id}/simulator",
        "POST /v1/sessions/{session_id}/end",
        "POST /api/v1/workflow/{workflow_id}/text-chat/sessions",
        "GET /api/v1/workflow/{workflow_id}/text-chat/sessions/{run_id}",
        "POST /api/v1/workflow/{workflow_id}/text-chat/sessions/{run_id}/messages",
        "POST /api/v1/workflow/{workflow_id}/text-chat/sessions/{run_id}/rewind",
        "POST /api/v1/workflow/{workflow_id}/text-chat/sessions/{run_id}/end",
        "GET /api/v1/workflow/fetch",
        "POST /api/v1/workflow/{workflow_id}/text-chat/sessions/stream",
        "POST /api/v1/workflow/{workflow_id}/text-chat/sessions/{run_id}/messages/stream",
        "GET /api/v1/workflow/fetch/{workflow_id}",
        "GET /api/v1/workflow/{workflow_id}",
        "GET /api/v1/workflow/{workflow_id}/runs",
        "GET /api/v1/workflow/{workflow_id}/runs/{run_id}",
        "POST /v1/chat/completions",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "POST /v1/responses",
        "GET /v1/responses/{response_id}",
        "DELETE /v1/responses/{response_id}",
        "POST /v1/suites",
        "GET /v1/suites",
        "GET /v1/suites/{suite_id}",
        "GET /v1/suites/{suite_id}/report",
        "GET /v1/suites/{suite_id}/runs",
        "GET /v1/suites/{suite_id}/definition",
        "GET /v1/suites/{suite_id}/events",
        "POST /v1/suites/{suite_id}/{command}",
        "GET /v1/usage",
        "GET /v1/usage/ledger",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }


def test_a_turn_of_the_api_keeps_its_name_beside_that_of_dograh(document: Json) -> None:
    assert "assistant_message" in document["components"]["schemas"]["Turn"]["properties"]
    assert "parent_id" in document["components"]["schemas"]["Turn"]["properties"]


def test_every_schema_has_a_plain_name_of_its_own(document: Json) -> None:
    names = set(document["components"]["schemas"])
    assert {"EndBody", "RewindBody", "Approval", "ApprovalRule", "Usage", "Cost"} <= names
    # A name that two models share becomes the path of its module, or gets a suffix.
    assert not [name for name in names if "__" in name or "-" in name]
    assert "expected_revision" in document["components"]["schemas"]["RewindBody"]["properties"]
    assert "expires_at" in document["components"]["schemas"]["Approval"]["properties"]


def test_every_reference_leads_somewhere(document: Json) -> None:
    for key, value in every_value(document):
        if key == "$ref":
            node = document
            for part in value.removeprefix("#/").split("/"):
                node = node[part]


def test_every_answer_and_every_body_has_an_example(document: Json) -> None:
    for name, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for described in bodies:
            for content in described.get("content", {}).values():
                schema = content.get("schema", {})
                referred = document["components"]["schemas"].get(schema.get("$ref", "").rsplit("/", 1)[-1], {})
                for option in schema.get("anyOf", []):
                    referred = referred or document["components"]["schemas"].get(
                        option.get("$ref", "").rsplit("/", 1)[-1], {}
                    )
                has = "example" in content or content.get("examples") or referred.get("examples")
                assert has, f"{name}: {described.get('description', 'the request body')} has no example"


def test_every_operation_is_described_with_its_errors(document: Json) -> None:
    for name, operation in operations(document):
        assert operation["description"], name
        if "/v1/" in name:
            invalid = "400" if name in OF_CHAT_PROTOCOL else "422"
            denied = {"403", "404", "429"} if name in PUBLIC else {"401"}
            assert {*denied, invalid, "500", "503"} <= set(operation["responses"]), name
            assert name not in OF_CHAT_PROTOCOL or "422" not in operation["responses"], name
            assert operation["security"] == ([] if name in PUBLIC else [{"key": []}, {"header": []}]), name
        for status, response in operation["responses"].items():
            for content_type, content in response.get("content", {}).items():
                if int(status) >= 400 and " /api/" in name:
                    assert (content_type, set(content["example"])) == ("application/json", {"detail"}), (name, status)
                elif int(status) >= 400 and name in OF_CHAT_PROTOCOL:
                    assert content_type == "application/json", (name, status)
                    assert all(set(example["value"]) == {"error"} for example in content["examples"].values())
                elif int(status) >= 400:
                    assert content_type == "application/problem+json", (name, status)
                    assert all(example["value"]["status"] == int(status) for example in content["examples"].values())


def test_examples_of_responses_match_their_models(document: Json) -> None:
    for name in (
        "Session",
        "SessionSummary",
        "Turn",
        "Branch",
        "Comparison",
        "Agent",
        "LedgerRow",
        "OrganizationUsage",
        "Accepted",
    ):
        model = getattr(responses, name)
        (example,) = model.model_json_schema()["examples"]
        shown = model.model_validate(example).model_dump(mode="json")
        assert set(example) == set(shown), name
        assert "checkpoint" not in document["components"]["schemas"].get("Turn", {}).get("properties", {})


def test_examples_of_the_compatible_routes_match_their_models() -> None:
    for model in (schemas.TextSession, schemas.Run):
        (example,) = model.model_json_schema()["examples"]
        assert model.model_validate(example).model_dump(mode="json") == example


def test_examples_of_the_chat_protocol_match_their_models() -> None:
    for model in (chat_forms.ChatCompletion, chat_forms.ChatCompletionChunk, chat_forms.ModelList):
        (example,) = model.model_json_schema()["examples"]
        assert model.model_validate(example).model_dump(mode="json") == example


def test_examples_of_bodies_are_taken() -> None:
    compatible = (schemas.CreateBody, schemas.MessageBody, schemas.TextSessionRewind, schemas.TextSessionEnd)
    for model in (NewSession, NewMessage, RewindBody, EndBody, chat_forms.ChatRequest, *compatible):
        (example,) = model.model_json_schema()["examples"]
        model.model_validate(example)


def test_the_example_of_an_agent_is_valid(document: Json) -> None:
    content = document["paths"]["/v1/agents"]["post"]["requestBody"]["content"]
    parse_definition(content["application/json"]["example"])


def test_the_webhook_is_described_with_a_valid_example(document: Json) -> None:
    (sent,) = document["webhooks"].values()
    operation = sent["post"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    assert operation["requestBody"]["content"]["application/json"]["schema"]["examples"]
    shown = SessionCompleted.model_validate(SESSION_COMPLETED).model_dump(mode="json")
    assert (set(shown), set(shown["data"])) == (set(SESSION_COMPLETED), set(SESSION_COMPLETED["data"]))


def test_the_error_table_has_the_codes_of_the_contract() -> None:
    table = {
        400: {"invalid_agent", "invalid_document", "invalid_request", "invalid_suite"},
        401: {"unauthenticated"},
        402: {"quota_exceeded"},
        404: {"not_found"},
        409: {
            "revision_conflict",
            "turn_in_progress",
            "idempotency_mismatch",
            "approval_not_pending",
            "client_call_not_pending",
            "superseded",
            "turn_not_pending",
            "agent_in_use",
            "too_many_documents",
        },
        410: {"session_ended", "session_erased", "suite_ended"},
        413: {"too_large"},
        422: {"validation_error"},
        429: {"rate_limited", "queue_full"},
        502: {"model_failed"},
        503: {"unavailable", "session_stuck"},
        504: {"wait_timeout"},
    }
    for status, codes in table.items():
        assert {code for code, kind in PROBLEM_TYPES.items() if kind.status == status} == codes
