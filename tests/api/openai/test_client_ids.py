"""Sessions under ids of the client's own: opened, continued and repeated, through two APIs."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
import pytest_asyncio

from api.http.problems import unavailable
from api.temporal.session_client import SessionClient
from contracts.sessions import StartSession
from domain.sessions.views import SessionHead
from tests.api.openai.talking import user
from tests.support.api_agents import library
from tests.support.provider import Says, ScriptedModel
from tests.support.running_api import Caller, Json, RunningApi, done, texts

Scripted = Callable[..., ScriptedModel]


@pytest_asyncio.fixture
async def visitor(other_api: RunningApi, caller: Caller) -> AsyncIterator[Caller]:
    """The caller at the second API."""
    async with other_api.caller(caller.organization) as visitor:
        yield visitor


async def ask(caller: Caller, name: str, *messages: object, **fields: object) -> httpx2.Response:
    body = {"model": "library", "messages": messages, **fields}
    return await caller.http.post("/v1/chat/completions", json=body, headers={"X-Session-Id": name})


def said(completion: Json) -> str:
    """The text of the reply."""
    return str(completion["choices"][0]["message"]["content"])


async def test_a_repeated_request_for_the_greeting_gets_it_again(caller: Caller, visitor: Caller) -> None:
    await caller.push(library())
    context = {"initial_context": {"time_of_day": "evening"}}
    answers = [done(await ask(each, "mine", **context), 200) for each in (caller, visitor, caller)]
    assert {said(answer) for answer in answers} == {"Good evening, this is the town library."}
    assert len({answer["session_id"] for answer in answers}) == 1
    done(await ask(visitor, "mine", user("Hello"), **context), 200)
    assert done(await ask(caller, "mine"), 400)["error"]["code"] == "nothing_to_say"


async def test_a_request_that_repeats_the_context_of_its_session_is_taken(caller: Caller) -> None:
    await caller.push(library())
    system = {"role": "system", "content": "Be kind."}
    for text in ("Hello", "More"):
        done(await ask(caller, "mine", system, user(text), initial_context={"time_of_day": "noon"}), 200)
    refused = done(await ask(caller, "mine", user("Again"), initial_context={"time_of_day": "night"}), 400)
    assert (refused["error"]["code"], refused["error"]["param"]) == ("unsupported_parameter", "initial_context")


async def test_a_session_that_was_stored_and_not_started_is_continued(
    caller: Caller, visitor: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caller.push(library(scripted(Says("Here.")).string))
    start = SessionClient.open

    async def not_now(self: SessionClient, start: StartSession) -> SessionHead:
        raise unavailable("temporal", "Temporal cannot be reached.")

    monkeypatch.setattr(SessionClient, "open", not_now)
    done(await ask(caller, "mine", user("Hello")), 503)
    monkeypatch.setattr(SessionClient, "open", start)
    answers = await asyncio.gather(*(ask(each, "mine", user("Hello")) for each in (caller, visitor)))
    assert 200 in {answer.status_code for answer in answers}
    assert {answer.status_code for answer in answers} <= {200, 409}
    (answer,) = {answer.headers["x-session-id"] for answer in answers}
    assert ("Hello", "Here.") in texts(await caller.session(answer))
