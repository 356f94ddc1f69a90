"""Sessions under ids of the client's own: opened, continued and repeated, through two APIs."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest

from api.http.problems import unavailable
from api.temporal.session_client import SessionClient
from contracts.sessions import StartSession
from domain.sessions.views import SessionHead
from tests.api.openai.talking import assistant, user
from tests.support.api_agents import library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, done, texts

Scripted = Callable[..., ScriptedModel]


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
    await caller.push(library(scripted(TextReply("Here.")).string))
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


PLATFORMS: list[tuple[Json, dict[str, str]]] = [
    ({"chat_id": "c-1"}, {}),
    ({"metadata": {"chat_id": "c-2"}}, {}),
    ({"call": {"id": "c-3", "type": "webCall"}}, {}),
    ({"elevenlabs_extra_body": {"conversation_id": "c-4"}}, {}),
    ({}, {"X-OpenWebUI-Chat-Id": "c-5"}),
]
"""The fields and headers in which Open WebUI, Vapi and ElevenLabs send their ids, each with another id."""


async def request(caller: Caller, *messages: object, headers: dict[str, str], **fields: object) -> httpx2.Response:
    body = {"model": "library", "messages": messages, **fields}
    return await caller.http.post("/v1/chat/completions", json=body, headers=headers)


async def test_the_id_of_a_platform_opens_a_session_and_continues_it(caller: Caller, visitor: Caller) -> None:
    await caller.push(library())
    sessions = set()
    for number, (fields, headers) in enumerate(PLATFORMS, start=1):
        first = done(await request(caller, user("Hello"), headers=headers, **fields), 200)
        history = (user("Hello"), assistant("You said: Hello"), user("More"))
        answer = await request(visitor, *history, headers=headers, **fields)
        assert done(answer, 200)["session_id"] == first["session_id"], fields
        assert "x-ignored-parameters" not in answer.headers
        same = done(await ask(caller, f"c-{number}", user("By the same id")), 200)
        assert same["session_id"] == first["session_id"], fields
        sessions.add(first["session_id"])
    assert len(sessions) == len(PLATFORMS)


async def test_a_platform_that_edits_the_first_message_begins_a_branch(caller: Caller) -> None:
    await caller.push(library())
    headers = {"X-OpenWebUI-Chat-Id": "c-1"}
    for text in ("Hello", "Good evening"):
        answer = done(await request(caller, user(text), headers=headers), 200)
    session = await caller.session(answer["session_id"])
    assert texts(session)[1:] == [("Good evening", "You said: Good evening")]
    assert len(session["discarded_branches"]) == 1


async def test_a_client_that_has_sent_its_history_edits_the_first_message(caller: Caller) -> None:
    await caller.push(library())
    history = [user("Hello"), assistant("You said: Hello"), user("More")]
    for length in (1, 3):
        done(await ask(caller, "mine", *history[:length]), 200)
    edited = done(await ask(caller, "mine", user("Good evening")), 200)
    assert texts(await caller.session(edited["session_id"]))[1:] == [("Good evening", "You said: Good evening")]


async def test_a_client_that_sends_its_last_message_alone_goes_on(caller: Caller) -> None:
    await caller.push(library())
    for text in ("Hello", "Yes", "Yes"):
        answer = done(await ask(caller, "mine", user(text)), 200)
    assert [text for text, _ in texts(await caller.session(answer["session_id"]))[1:]] == ["Hello", "Yes", "Yes"]


async def test_a_history_without_its_beginning_is_found_in_its_session(caller: Caller, visitor: Caller) -> None:
    await caller.push(library())
    history: list[object] = []
    for number in range(4):
        history.append(user(f"Number {number}"))
        answer = done(await ask(caller, "mine", *history[-3:]), 200)
        history.append(assistant(f"You said: Number {number}"))
    edited = done(await ask(visitor, "mine", *history[2:4], user("Another")), 200)
    assert edited["session_id"] == answer["session_id"]
    session = await caller.session(edited["session_id"])
    assert [text for text, _ in texts(session)[1:]] == ["Number 0", "Number 1", "Another"]
    differs = done(await ask(caller, "mine", user("Number 1"), assistant("No."), user("More")), 400)["error"]
    assert differs["code"] == "conversation_mismatch"
    assert '"Number 1" with the reply "No."' in differs["message"]


async def test_ids_that_differ_or_are_no_text_are_refused(caller: Caller) -> None:
    await caller.push(library())
    for fields, param in (
        ({"session_id": "other"}, "session_id"),
        ({"session_id": ["mine"]}, "session_id"),
        ({"session_id": "x" * 201}, "session_id"),
    ):
        error = done(await ask(caller, "mine", user("Hello"), **fields), 400)["error"]
        assert (error["code"], error["param"]) == ("invalid_request", param)
    first = done(await ask(caller, "mine", user("Hello"), session_id="mine", chat_id="other"), 200)
    again = done(await request(caller, user("More"), headers={}, session_id="mine"), 200)
    assert again["session_id"] == first["session_id"]
