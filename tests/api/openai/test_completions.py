"""Chat completions without streaming, with the official client: sessions, history checks, errors and cost."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from playhead_client import AsyncPlayhead
from tests.api.openai.talking import Messages, assistant, error_of, key_of, reply, session_of, user
from tests.support.api_agents import library
from tests.support.client_tool_agent import switchboard
from tests.support.provider import ErrorReply, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json, RunningApi, texts
from tests.support.waiting import eventually

PAGE = Path(__file__).parents[3] / "docs" / "openai.md"
BOOKING_LINE = Path(__file__).parents[3] / "examples" / "agents" / "booking-line.yaml"

Scripted = Callable[..., ScriptedModel]


async def test_a_conversation_without_a_session_begins_one_and_goes_on_in_it(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("For how many?"), TextReply("At what time?"))
    agent = await caller.push(library(model.string))
    said: Messages = [user("A table, please.")]
    answer = await official.chat.completions.with_raw_response.create(
        model="library", messages=said, metadata={"ticket": "T-1"}, temperature=0.3, max_tokens=99
    )
    first = answer.parse()
    session_id = session_of(first)
    assert answer.headers["X-Session-Id"] == session_id
    assert (reply(first), first.choices[0].finish_reason) == ("For how many?", "stop")
    assert first.model == f"library@{agent['version']}"
    assert first.usage is not None
    assert (first.usage.prompt_tokens, first.usage.completion_tokens, first.usage.total_tokens) == (11, 7, 18)

    said += [assistant(reply(first)), user("Four.")]
    second = await official.chat.completions.create(model="library", messages=said, metadata={"session_id": session_id})
    assert session_of(second) == session_id
    assert [asked.conversation[-1] for asked in model.journal] == [("user", "A table, please."), ("user", "Four.")]
    session = await caller.session(session_id)
    assert texts(session)[1:] == [("A table, please.", "For how many?"), ("Four.", "At what time?")]
    assert session["annotations"] == {"ticket": "T-1"}
    assert len(await caller.recorded(session_id, turns=3)) == 3


async def test_internal_tool_calls_are_hidden_and_counted(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(ToolCallReply("farewell", text="Of course."), TextReply("Goodbye!"))
    await caller.push(library(model.string))
    completion = await official.chat.completions.create(model="library", messages=[user("I must leave.")])
    assert completion.choices[0].message.tool_calls is None
    assert completion.choices[0].finish_reason == "stop"
    assert reply(completion).split() == ["Of", "course.", "Goodbye!"]
    assert completion.usage is not None
    assert completion.usage.total_tokens == 36
    assert completion.metadata is not None
    assert completion.metadata["node_id"] == "goodbye"

    with pytest.raises(openai.APIStatusError) as ended:
        await official.chat.completions.create(
            model="library", messages=[user("One more thing.")], extra_headers={"X-Session-Id": session_of(completion)}
        )
    assert error_of(ended.value) == (410, "invalid_request_error", "session_ended", None)


async def test_a_request_without_a_user_message_is_answered_with_the_greeting(
    official: AsyncOpenAI, caller: Caller
) -> None:
    await caller.push(library())
    greeted = await official.chat.completions.create(
        model="library", messages=[], extra_body={"initial_context": {"time_of_day": "evening"}}
    )
    assert reply(greeted) == "Good evening, this is the town library."
    said: Messages = [assistant(reply(greeted)), user("Hello")]
    headers = {"X-Session-Id": session_of(greeted)}
    completion = await official.chat.completions.create(model="library", messages=said, extra_headers=headers)
    assert reply(completion) == "You said: Hello"
    with pytest.raises(openai.BadRequestError) as nothing:
        await official.chat.completions.create(model="library", messages=[], extra_headers=headers)
    assert nothing.value.code == "nothing_to_say"


async def test_system_messages_are_a_variable_of_the_agents_templates(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted()
    await caller.push(library(model.string, prompt="You speak for the library. {{system_message | Be kind.}}"))
    system: ChatCompletionMessageParam = {"role": "system", "content": "Speak in rhymes."}
    first = await official.chat.completions.create(model="library", messages=[system, user("Hello")])
    assert "You speak for the library. Speak in rhymes." in model.journal[0].instructions
    headers = {"X-Session-Id": session_of(first)}
    await official.chat.completions.create(model="library", messages=[system, user("More")], extra_headers=headers)
    assert "Speak in rhymes." in model.journal[1].instructions
    assert "system_message" not in (await caller.session(session_of(first)))["gathered_context"]


async def test_an_agent_that_uses_the_system_messages_sees_the_newest(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted()
    await caller.push(library(model.string, prompt="You speak for the library. {{system_message | Be kind.}}"))
    first = await official.chat.completions.create(model="library", messages=[user("Hello")])
    assert "Be kind." in model.journal[0].instructions
    headers = {"X-Session-Id": session_of(first)}
    for at, words in enumerate(("It is nine o'clock.", "It is ten o'clock."), start=1):
        system: ChatCompletionMessageParam = {"role": "system", "content": words}
        await official.chat.completions.create(model="library", messages=[system, user("More")], extra_headers=headers)
        assert f"You speak for the library. {words}" in model.journal[at].instructions
    await official.chat.completions.create(model="library", messages=[user("And now?")], extra_headers=headers)
    assert "It is ten o'clock." in model.journal[3].instructions
    session = await caller.session(session_of(first))
    await caller.rewind(session["id"], session["turns"][2]["id"])
    await official.chat.completions.create(model="library", messages=[user("Again.")], extra_headers=headers)
    assert "It is nine o'clock." in model.journal[4].instructions
    long: Messages = [{"role": "system", "content": "x" * 70_000}, user("More")]
    with pytest.raises(openai.APIStatusError) as large:
        await official.chat.completions.create(model="library", messages=long, extra_headers=headers)
    assert (large.value.status_code, large.value.code) == (413, "too_large")


async def test_an_agent_that_does_not_use_system_messages_ignores_them(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    session = await caller.open("library")
    completion = await official.chat.completions.create(
        model="library",
        messages=[{"role": "developer", "content": "You are a helpful assistant."}, user("Hello")],
        metadata={"session_id": session["id"]},
    )
    assert reply(completion) == "You said: Hello"


async def test_a_conversation_that_contradicts_the_session_is_refused_without_a_turn(
    official: AsyncOpenAI, caller: Caller
) -> None:
    await caller.push(library())
    first = await official.chat.completions.create(model="library", messages=[user("Hello")])
    headers = {"X-Session-Id": session_of(first)}
    for contradicting in ([user("Hello"), assistant("Something else")], [user("Bye"), assistant(reply(first))]):
        with pytest.raises(openai.BadRequestError) as refused:
            await official.chat.completions.create(
                model="library", messages=[*contradicting, user("More")], extra_headers=headers
            )
        assert error_of(refused.value) == (400, "invalid_request_error", "conversation_mismatch", "messages")
        assert refused.value.response.headers["x-session-id"] == session_of(first)
        assert refused.value.response.headers["x-should-retry"] == "false"
    assert len((await caller.session(session_of(first)))["turns"]) == 2
    with pytest.raises(openai.BadRequestError) as unnamed:
        await official.chat.completions.create(
            model="library", messages=[user("Hello"), assistant("Something else"), user("More")]
        )
    assert "metadata.session_id" in unnamed.value.message
    await caller.recorded(session_of(first), turns=2)
    assert len(await caller.items("/v1/sessions")) == 1


async def test_after_a_rewind_the_history_must_match_the_visible_branch(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    first = await official.chat.completions.create(model="library", messages=[user("One")])
    headers = {"X-Session-Id": session_of(first)}
    said: Messages = [user("One"), assistant(reply(first))]
    await official.chat.completions.create(model="library", messages=[*said, user("Two")], extra_headers=headers)
    session = await caller.session(session_of(first))
    await caller.rewind(session["id"], session["turns"][1]["id"])
    again = await official.chat.completions.create(
        model="library", messages=[*said, user("Three")], extra_headers=headers
    )
    assert reply(again) == "You said: Three"


async def test_a_repeated_request_with_its_key_gives_the_same_reply_in_the_same_session(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("Once."), TextReply("Twice."))
    await caller.push(library(model.string))
    key = {"Idempotency-Key": "attempt-1"}
    first = await official.chat.completions.create(model="library", messages=[user("Hello")], extra_headers=key)
    again = await official.chat.completions.create(model="library", messages=[user("Hello")], extra_headers=key)
    assert (session_of(again), again.id, reply(again)) == (session_of(first), first.id, "Once.")

    headers = {"Idempotency-Key": "attempt-2", "X-Session-Id": session_of(first)}
    said: Messages = [user("Hello"), assistant("Once."), user("More")]
    second = await official.chat.completions.create(model="library", messages=said, extra_headers=headers)
    third = await official.chat.completions.create(model="library", messages=said, extra_headers=headers)
    assert (third.id, reply(third)) == (second.id, "Twice.")
    assert len(model.journal) == 2
    with pytest.raises(openai.BadRequestError) as other:
        await official.chat.completions.create(model="library", messages=[user("Other")], extra_headers=headers)
    assert other.value.code == "idempotency_mismatch"


async def test_requests_with_one_key_at_the_same_time_are_one_request(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("Once."), TextReply("Twice."))
    await caller.push(library(model.string))
    key = {"Idempotency-Key": "at-once"}
    answers = await asyncio.gather(
        *(
            official.chat.completions.create(model="library", messages=[user("Hello")], extra_headers=key)
            for _ in range(4)
        )
    )
    assert {(session_of(answer), answer.id, reply(answer)) for answer in answers} == {
        (session_of(answers[0]), answers[0].id, "Once.")
    }
    assert len(model.journal) == 1


async def test_a_key_belongs_to_its_organization(
    running_api: RunningApi, official: AsyncOpenAI, caller: Caller
) -> None:
    await caller.push(library())
    key = {"Idempotency-Key": "attempt-1"}
    mine = await official.chat.completions.create(model="library", messages=[user("Hello")], extra_headers=key)
    async with running_api.caller() as neighbour:
        await neighbour.push(library())
        theirs = await neighbour.http.post(
            "/v1/chat/completions", json={"model": "library", "messages": [user("Hello")]}, headers=key
        )
    assert theirs.status_code == 200
    assert theirs.json()["session_id"] != session_of(mine)


async def test_a_turn_that_fails_at_the_model_names_its_session(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(ErrorReply(400), TextReply("Here again."))
    await caller.push(library(model.string))
    with pytest.raises(openai.InternalServerError) as failed:
        await official.chat.completions.create(model="library", messages=[user("Hello")])
    assert error_of(failed.value) == (502, "server_error", "model_failed", None)
    headers = {"X-Session-Id": failed.value.response.headers["x-session-id"]}
    again = await official.chat.completions.create(
        model="library", messages=[user("Hello"), user("Hello?")], extra_headers=headers
    )
    assert reply(again) == "Here again."


async def test_errors_have_the_format_and_the_status_of_openai(
    running_api: RunningApi, official: AsyncOpenAI, caller: Caller
) -> None:
    await caller.push(library())
    create = official.chat.completions.create
    with pytest.raises(openai.NotFoundError) as unknown:
        await create(model="bookshop", messages=[user("Hello")])
    assert error_of(unknown.value) == (404, "invalid_request_error", "model_not_found", "model")
    with pytest.raises(openai.NotFoundError) as unknown_session:
        await create(model="library", messages=[user("Hello")], metadata={"session_id": "ses_none"})
    assert unknown_session.value.code == "not_found"
    with pytest.raises(openai.BadRequestError) as several:
        await create(model="library", messages=[user("Hello")], n=2)
    assert error_of(several.value) == (400, "invalid_request_error", "unsupported_parameter", "n")
    with pytest.raises(openai.BadRequestError) as wrong:
        await create(model="library", messages=[{"role": "king", "content": "Hello"}])  # type: ignore[misc, list-item]  # not a role: the server must reject it
    assert error_of(wrong.value) == (400, "invalid_request_error", "validation_error", "messages[0].role")
    with pytest.raises(openai.BadRequestError) as torn:
        await create(
            model="library",
            messages=[user("Hello")],
            metadata={"session_id": "ses_one"},
            extra_headers={"X-Session-Id": "ses_two"},
        )
    assert torn.value.param == "metadata.session_id"
    with pytest.raises(openai.AuthenticationError) as stranger:
        await official.with_options(api_key="phk_wrong").chat.completions.create(model="library", messages=[user("Hi")])
    assert stranger.value.type == "authentication_error"
    broken = await caller.http.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_request")
    with pytest.raises(openai.APIStatusError) as large:
        await create(model="library", messages=[{"role": "system", "content": "x" * 70_000}, user("Hello")])
    assert (large.value.status_code, large.value.code) == (413, "too_large")
    assert await caller.items("/v1/sessions") == []


async def test_a_session_keeps_its_agent_and_its_version(official: AsyncOpenAI, caller: Caller) -> None:
    old = await caller.push(library())
    await caller.push(library(prompt="Another prompt."))
    await caller.push(library(name="bookshop"))
    first = await official.chat.completions.create(model=f"{old['id']}@1", messages=[user("Hello")])
    assert first.model == "library@1"
    headers = {"X-Session-Id": session_of(first)}
    later = await official.chat.completions.create(model="library", messages=[user("More")], extra_headers=headers)
    assert later.model == "library@1"
    for other in ("bookshop", "library@2"):
        with pytest.raises(openai.BadRequestError) as refused:
            await official.chat.completions.create(model=other, messages=[user("More")], extra_headers=headers)
        assert (refused.value.code, refused.value.param) == ("conversation_mismatch", "model")


async def test_agents_are_listed_as_models(official: AsyncOpenAI, caller: Caller) -> None:
    agent = await caller.push(library())
    await caller.push(library(name="town/hall@2"))
    assert [model.id async for model in official.models.list()] == ["town/hall@2", "library"]
    assert (await official.models.retrieve("library@1")).id == "library"
    assert (await official.models.retrieve(agent["id"])).id == "library"
    assert (await official.models.retrieve("town/hall@2")).owned_by == "playhead"
    with pytest.raises(openai.NotFoundError) as unknown:
        await official.models.retrieve("library@9")
    assert unknown.value.code == "model_not_found"


async def test_the_examples_of_the_documentation_run(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    examples = [example for example in examples if "client" in example]  # without those of other programs
    assert len(examples) == 3
    example = "\n".join(examples)
    async with AsyncPlayhead(running_api.url, key_of(caller)) as playhead:
        await playhead.agents.push(BOOKING_LINE.read_bytes())
    model = scripted(ToolCallReply("transfer", '{"to": "sales"}'), TextReply("You are connected."))
    await caller.push(switchboard(model.string))
    here = example.replace("http://localhost:8080", running_api.url).replace('"dev"', repr(key_of(caller)))
    assert here.count(running_api.url) == 1
    await asyncio.to_thread(exec, compile(here, PAGE.name, "exec"), {})

    async def recorded() -> list[Json]:
        found = await caller.items("/v1/sessions")
        return found if len(found) == 3 else []

    called, responses, completions = await eventually(recorded)
    assert texts(await caller.session(called["id"]))[1] == ("Sales, please.", "You are connected.")
    assert "Transferred." in str(model.journal[-1].conversation)
    assert texts(await caller.session(completions["id"]))[2] == ("At seven.", "You said: At seven.")
    assert texts(await caller.session(responses["id"]))[2] == ("At eight.", "You said: At eight.")


async def test_an_unknown_id_of_the_client_opens_a_session_and_continues_it(
    official: AsyncOpenAI, caller: Caller
) -> None:
    """The client's own id is enough for a whole conversation; the id in the answer works too."""
    await caller.push(library())
    headers = {"X-Session-Id": "chat-of-the-client"}
    first = await official.chat.completions.create(model="library", messages=[user("Hello")], extra_headers=headers)
    second = await official.chat.completions.create(model="library", messages=[user("More")], extra_headers=headers)
    assert session_of(second) == session_of(first)
    third = await official.chat.completions.create(
        model="library", messages=[user("Again")], metadata={"session_id": session_of(first)}
    )
    assert session_of(third) == session_of(first)
    with pytest.raises(openai.BadRequestError) as unknown:
        await official.chat.completions.create(
            model="library",
            messages=[user("Hello"), assistant("Hi"), user("More")],
            extra_headers={"X-Session-Id": "never-seen"},
        )
    assert unknown.value.code == "conversation_mismatch"
