"""The tokens of a request, as a provider counts them: the client of OpenAI's Responses API, over real HTTP."""

import json
import logging
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from activities.llm.interface import ModelCall
from activities.llm.messages import serialized_step
from activities.llm.providers import ModelProviders
from domain.agents.tools import OfferedTool
from domain.turns.engine import ModelReply
from domain.turns.turn import UserSaid

COUNTED = 1_234


@pytest.fixture
def counting(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    """A server in place of OpenAI's."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", httpserver.url_for("/v1"))
    return httpserver


def request_to(model: str) -> ModelCall:
    """A request with an earlier step and a tool."""
    reply = ModelReply(text="Until six.", tool_calls=())
    return ModelCall(
        model=model,
        instructions="You are the library.",
        history=(serialized_step([UserSaid(text="How late is it open?")], reply),),
        messages=(UserSaid(text="And on Sundays?"),),
        tools=(OfferedTool(name="look_up", description="Looks it up.", parameters={"type": "object"}),),
        timeout=10.0,
    )


async def test_the_provider_counts_everything_that_would_be_sent(counting: HTTPServer) -> None:
    counting.expect_oneshot_request("/v1/responses/input_tokens", method="POST").respond_with_json(
        {"object": "response.input_tokens", "input_tokens": COUNTED}
    )
    assert await ModelProviders(prices={}).count_tokens(request_to("openai-responses:gpt-5")) == COUNTED
    ((request, _),) = counting.log
    sent: dict[str, Any] = json.loads(request.data)
    assert sent["model"] == "gpt-5"
    assert [tool["name"] for tool in sent["tools"]] == ["look_up"]
    texts = json.dumps([sent["instructions"], sent["input"]])
    assert all(text in texts for text in ("You are the library.", "How late", "Until six.", "And on Sundays?"))


async def test_a_provider_that_cannot_count_leaves_it_to_the_estimate(
    counting: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The chat protocol cannot count tokens, so no request is made and nothing is logged."""
    with caplog.at_level(logging.WARNING):
        assert await ModelProviders(prices={}).count_tokens(request_to("openai-chat:gpt-5")) is None
    assert (counting.log, caplog.text) == ([], "")


async def test_a_count_that_fails_leaves_it_to_the_estimate(
    counting: HTTPServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.llm.providers.MAX_COUNTING_SECONDS", 0.5)

    def answer(_: Request) -> Response:
        return Response('{"error": {"message": "no such path: /responses/input_tokens"}}', status=404)

    counting.expect_request("/v1/responses/input_tokens").respond_with_handler(answer)
    with caplog.at_level(logging.WARNING):
        assert await ModelProviders(prices={}).count_tokens(request_to("openai-responses:gpt-5")) is None
    assert "the tokens of a request to openai-responses:gpt-5 could not be counted" in caplog.text
    assert "Sundays" not in caplog.text
