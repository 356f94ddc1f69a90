"""Credentials are sent to their service only, and are in no result, error or log line."""

import json
import logging
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from pytest_httpserver import HTTPServer
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from werkzeug import Request, Response

from activities.network.secrets import MASK, Redactor
from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tool_clients.interface import ToolFailed
from activities.tools import ToolActivities
from contracts.sessions import AgentRef
from contracts.tools import CallToolInput, CallToolResult
from domain.agents.definition import AgentDefinition, HttpTool, Node
from tests.support.tool_calls import LOOPBACK, call_of, http_tool, outcome_of

CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"])
SECRETS = st.text(CHARACTERS, min_size=8, max_size=24).filter(lambda text: text == text.strip())
SENT_SECRETS = st.builds(
    "{}xQ7z{}".format, st.text(CHARACTERS, min_size=2, max_size=10), st.text(CHARACTERS, min_size=2, max_size=10)
).filter(lambda text: text == text.strip())
"""Credentials that are in no word of a protocol, thanks to four letters inside; the text around those is arbitrary.
Log lines of the HTTP library name headers, and Hypothesis found `Content-` as the credential: a line with such a
common word reveals nothing, although the credential is the same word."""
TEXTS = st.text(st.sampled_from('ab"\\/%+ é[]redacted'), max_size=30)


@given(secrets=st.lists(SECRETS | TEXTS.filter(len), min_size=1, max_size=3), around=st.lists(TEXTS, min_size=4))
def test_no_text_keeps_a_credential_however_it_is_written(secrets: list[str], around: Sequence[str]) -> None:
    spelled = [form for secret in secrets for form in (secret, json.dumps(secret), json.dumps(secret)[1:-1])]
    text = "".join(part for pair in zip(around, spelled * len(around), strict=False) for part in pair)
    shown = Redactor(secrets).redact_text(text)
    assert not any(secret in shown for secret in secrets)


@given(SECRETS, TEXTS)
def test_no_json_value_keeps_a_credential(secret: str, text: str) -> None:
    value: JsonValue = {f"{text}{secret}": [secret, {"deep": f"{secret}{text}"}, 12345678, 1.5, None, True]}
    shown = Redactor([secret, "12345678"]).redact_value(value)
    for string in strings_in(shown):
        assert secret not in string
    assert "12345678" not in json.dumps(shown)


def test_texts_without_credentials_are_unchanged() -> None:
    value: JsonValue = {"a": ["b", 1, None, 2.5, True]}
    assert Redactor(["unrelated"]).redact_value(value) == value
    assert Redactor([]).redact_text("anything") == "anything"
    assert Redactor([""]).redact_text("anything") == "anything"
    assert Redactor(["s3cret/+"]).redact_text("k=s3cret%2F%2B&x") == f"k={MASK}&x"


def strings_in(value: JsonValue) -> list[str]:
    if isinstance(value, dict):
        return [each for key, part in value.items() for each in [key, *strings_in(part)]]
    if isinstance(value, list):
        return [each for part in value for each in strings_in(part)]
    return [value] if isinstance(value, str) else []


def echo(request: Request) -> Response:
    """A careless service that echoes its requests, in the requested form and with the requested status."""
    received = {
        "headers": dict(request.headers),
        "url": request.url,
        "raw": request.environ["RAW_URI"],
        "body": request.get_data(as_text=True),
        "json": request.get_json(silent=True),
        "parameters": request.args.to_dict(),
    }
    form = request.args["form"]
    text = json.dumps(received) if form == "json" else f"{received}"
    if form == "cut":
        return Response(text[: len(text) // 2], content_type="application/json")
    kind = "application/json" if form == "json" else "text/plain"
    return Response(text, status=int(request.args["status"]), content_type=kind)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=SENT_SECRETS, status=st.sampled_from([200, 404, 500]), form=st.sampled_from(["json", "text", "cut"]))
async def test_a_service_that_echoes_requests_reveals_no_credential(
    service: HTTPServer, caplog: pytest.LogCaptureFixture, secret: str, status: int, form: str
) -> None:
    caplog.clear()
    service.clear()
    service.expect_request("/echo").respond_with_handler(echo)
    tool = http_tool(
        service.url_for(f"/echo?form={form}&status={status}&k={{{{secrets.KEY}}}}"),
        secrets=["KEY"],
        headers={"Authorization": "Bearer {{secrets.KEY}}"},
        body={"key": "{{secrets.KEY}}", "text": "my {{secrets.KEY}}!"},
        assign={"all": ""} if form == "json" else {},
    )
    dispatcher = ToolDispatcher(credentials={"KEY": secret}, allowlist=LOOPBACK)
    with caplog.at_level(logging.DEBUG):
        outcome = await outcome_of(dispatcher, call_of(tool))
        await dispatcher.close()
    ((request, _),) = service.log
    assert request.args["k"] == secret
    # The service is part of this process, and its log line quotes the request.
    logged = [f"{each.getMessage()} {each.exc_info}" for each in caplog.records if each.name != "werkzeug"]
    shown = [str(outcome), *logged]
    if isinstance(outcome, CallToolResult):
        shown += [outcome.content, *strings_in(outcome.assigned)]
        assert outcome.content
    else:
        shown.append(outcome.result.content)
        assert outcome.__cause__ is None
    ours = [text.replace(MASK, "") for text in shown]
    assert not any(secret in text for text in ours)


@pytest.mark.parametrize(
    ("organization", "sent"), [("org_a", "own-secret-of-a"), ("org_b", "everyones-secret"), ("org_c", None)]
)
async def test_an_organizations_credential_is_its_own_and_precedes_the_installations(
    service: HTTPServer, organization: str, sent: str | None
) -> None:
    service.expect_request("/").respond_with_handler(lambda request: Response(str(request.headers)))
    everyones = {"KEY": "everyones-secret"} if sent is not None else {}
    own = {"org_a": {"KEY": "own-secret-of-a"}, "org_b": {"OTHER": "own-secret-of-b"}}
    dispatcher = ToolDispatcher(credentials=everyones, organization_credentials=own, allowlist=LOOPBACK)
    tool = http_tool(service.url_for("/"), secrets=["KEY"], headers={"X-Key": "{{secrets.KEY}}"})
    outcome = await outcome_of(dispatcher, call_of(tool, organization_id=organization))
    await dispatcher.close()
    assert [request.headers["X-Key"] for request, _ in service.log] == ([sent] if sent else [])
    if sent is None:
        assert isinstance(outcome, ToolFailed)
        assert outcome.code == "missing_secret"
    else:
        assert isinstance(outcome, CallToolResult)
        assert sent not in outcome.content
        assert MASK in outcome.content


async def test_a_failure_in_temporals_history_has_neither_the_credential_nor_a_cause(service: HTTPServer) -> None:
    secret = "s3cret-and-long"
    service.expect_request("/").respond_with_handler(lambda request: Response(str(request.headers), status=503))
    tool = http_tool(service.url_for("/"), secrets=["KEY"], headers={"X-Key": "{{secrets.KEY}}"})
    dispatcher = ToolDispatcher(credentials={"KEY": secret}, allowlist=LOOPBACK)
    asked = CallToolInput(
        session_id="ses_1",
        organization_id="org",
        turn_id="turn_1",
        call_id="c1",
        agent=AgentRef(id="agt_1", version=1),
        tool="find_table",
    )
    with pytest.raises(ApplicationError) as failure:
        await ActivityEnvironment().run(ToolActivities(agents=OneAgent(tool), runner=dispatcher).call_tool, asked)
    await dispatcher.close()
    assert secret not in str(failure.value)
    assert MASK in str(failure.value)
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__
    assert isinstance(failure.value.__context__, ToolFailed)


class OneAgent:
    """A store that holds one agent with one tool."""

    def __init__(self, tool: HttpTool) -> None:
        self._definition = AgentDefinition(
            name="a", start="hi", nodes={"hi": Node(prompt="Talk.")}, tools={"find_table": tool}
        )

    async def number(self, agent_id: str) -> int:
        return 1

    async def definition(self, agent_id: str, version: int) -> AgentDefinition:
        return self._definition
