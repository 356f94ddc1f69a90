"""Conversations in requests of the OpenAI client: the same on the wire, without a type check of each message."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai._utils import async_maybe_transform
from pytest_httpserver import HTTPServer

from activities.llm.interface import ModelCall, ProviderFailed
from activities.llm.messages import serialized_step
from activities.llm.providers import ModelProviders
from domain.agents.tools import OfferedTool
from domain.turns.engine import ModelReply, ToolCall
from domain.turns.turn import ToolReturned, UserSaid

PATHS = {"openai-chat:gpt-5": "/v1/chat/completions", "openai-responses:gpt-5": "/v1/responses"}


@pytest.fixture
def server(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    """A server in place of OpenAI's."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", httpserver.url_for("/v1"))
    return httpserver


def long_request(model: str) -> ModelCall:
    """A request with steps of every form."""
    called = ModelReply(
        text="I look.", tool_calls=(ToolCall(id="call_1", name="look_up", arguments={"day": "Sunday"}),)
    )
    returned = ToolReturned(call_id="call_1", name="look_up", content="closed")
    return ModelCall(
        model=model,
        instructions="You are the library.",
        history=(
            serialized_step([UserSaid(text="How late is it open?")], called),
            serialized_step([returned], ModelReply(text="Not at all.", tool_calls=())),
        ),
        messages=(UserSaid(text="And on Mondays?"),),
        tools=(OfferedTool(name="look_up", description="Looks it up.", parameters={"type": "object"}),),
        timeout=10.0,
    )


async def sent_by(server: HTTPServer, model: str) -> dict[str, Any]:
    """The body of a request, which the server answers with an error."""
    server.clear()
    server.expect_request(PATHS[model]).respond_with_json({"error": {"message": "no"}}, status=400)
    with pytest.raises(ProviderFailed):
        await ModelProviders(prices={}).call(long_request(model))
    ((request, _),) = server.log
    body: dict[str, Any] = json.loads(request.data)
    return body


@pytest.mark.parametrize("model", PATHS)
async def test_the_request_equals_the_one_the_client_itself_sends(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    sent = await sent_by(server, model)

    def leave_as_it_is(_: AsyncOpenAI) -> None:
        """Change nothing."""

    monkeypatch.setattr("activities.llm.providers.send_conversations_as_they_are", leave_as_it_is)
    assert sent == await sent_by(server, model)
    assert "And on Mondays?" in json.dumps(sent)


@pytest.mark.parametrize("model", PATHS)
async def test_the_client_does_not_inspect_messages(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Comparing each message with every type that it may have takes most of a second for a thousand turns."""
    looked_at: list[str] = []
    for module in ("chat.completions.completions", "responses.responses"):
        name = f"openai.resources.{module}.async_maybe_transform"
        monkeypatch.setattr(name, noting(looked_at, async_maybe_transform))
    await sent_by(server, model)
    assert len(looked_at) == 1
    assert "Mondays" not in looked_at[0]


def noting(looked_at: list[str], transform: Callable[..., Any]) -> Callable[..., Any]:
    """The client's function, recording its arguments."""

    async def noted(data: object, expected_type: object) -> Any:
        looked_at.append(repr(data))
        return await transform(data, expected_type)

    return noted
