"""Tools and variables in real sessions: HTTP services, context and billing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import pytest
import pytest_asyncio
from pytest_httpserver import HTTPServer
from sqlalchemy import Connection, select
from temporalio.client import Client
from werkzeug import Request, Response

from domain.agents.definition import AgentDefinition
from domain.dograh.run_log import realtime_feedback_events
from domain.usage import TokenPrice
from playhead.config.settings import Settings
from playhead.services.worker import build_worker
from store.database.connection import Database
from store.database.tables import metadata
from tests.support.activities import CREDENTIALS
from tests.support.agents import GREETING, WANDERER
from tests.support.booking_agent import RETRIES, journal_of, library_agent
from tests.support.provider import ErrorReply, ModelProvider, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import SessionHandle, SessionStack, reply_text, types_of

Scripted = Callable[..., ScriptedModel]
Service = HTTPServer

PRICED_BOOKS = "priced-books"
"""The one scripted model of these tests whose price is known: a dollar for a thousand tokens, in or out."""
FOUND = {"shelf": "B7", "copies": 2}
FIND = ToolCallReply("find_book", '{"title": "Emma"}')
RECORDED = ToolCallReply("record_variables", '{"title": "Emma", "copies": "2", "mood": "sunny"}')


@pytest_asyncio.fixture(scope="module")
async def stack(client: Client, database: Database, provider: ModelProvider) -> AsyncIterator[SessionStack]:
    """A worker as `playhead worker` builds it, whose tools may call this machine."""
    settings = Settings(
        database_url=database.address,
        task_queue="sessions-tools",
        credentials=CREDENTIALS,
        egress_allowlist=("127.0.0.1",),
        prices={f"openai:{PRICED_BOOKS}": TokenPrice(input=Decimal(1000), output=Decimal(1000))},
        shutdown_grace_seconds=0.1,
    )
    async with build_worker(settings, client, database):
        yield SessionStack.on(client, database, settings.task_queue)


@pytest.fixture
def agent(httpserver: Service) -> AgentDefinition:
    """The library, with tools of the web service of this test."""
    return library_agent(httpserver.url_for("").rstrip("/"))


def failing(times: int) -> Callable[[Request], Response]:
    """A service that fails this many times, and then finds the book."""
    left = [503] * times

    def handler(_: Request) -> Response:
        return Response("Come back later.", status=left.pop()) if left else Response('{"shelf": "B7"}', 200)

    return handler


# --- tools --------------------------------------------------------------------------------------


async def test_a_result_reaches_the_model_and_joins_the_context_and_the_templates(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service
) -> None:
    httpserver.expect_request("/books", method="POST").respond_with_json(FOUND)
    model = scripted(FIND, ToolCallReply("to_loans"), TextReply("Which copy?"))
    session = await stack.open(agent, model=model.string)
    result = await session.say("Do you have Emma?")
    assert reply_text(result.turn) == "It stands on shelf B7.\n\nWhich copy?"
    assert result.head.gathered_context == {"shelf": "B7"}

    [called] = journal_of(httpserver)
    assert (called.path, called.body) == ("/books", {"title": "Emma"})
    assert called.authorization == f"Bearer {CREDENTIALS['BOOKING_KEY']}"
    first, second, third = model.journal
    assert first.tools == ["to_loans", "find_book", "opening_hours"]
    assert second.conversation[-2:] == [
        ("assistant", 'find_book({"title":"Emma"})'),
        ("tool", '{"shelf":"B7","copies":2}'),
    ]
    assert third.instructions.endswith("The shelf is B7.")
    assert types_of(result.turn) == [
        "tool_call_started",
        "tool_call_result",
        "tool_call_started",
        "node_transition",
        "tool_call_result",
    ]


async def test_a_tool_that_fails_twice_and_then_works_is_called_three_times_under_one_key(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service
) -> None:
    httpserver.expect_request("/books").respond_with_handler(failing(2))
    model = scripted(FIND, TextReply("Shelf B7."))
    session = await stack.open(agent, model=model.string)
    result = await session.say("Do you have Emma?")
    calls = journal_of(httpserver)
    assert len(calls) == 3
    [key] = {call.key for call in calls}
    assert key
    assert len(key) == 40
    assert reply_text(result.turn) == "Shelf B7."
    payload = result.turn.events[-1].payload
    assert (payload["result"], payload["attempts"]) == ('{"shelf":"B7"}', 3)
    failed = payload["failed_attempts"]
    assert isinstance(failed, list)
    assert [each["error"] for each in failed if isinstance(each, dict)] == ["http_error", "http_error"]
    assert result.head.gathered_context == {"shelf": "B7"}
    assert len(model.journal) == 2, "the model was not asked again for what the tool had to repeat"


async def test_every_call_has_a_key_of_its_own(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service
) -> None:
    httpserver.expect_request("/books").respond_with_json(FOUND)
    model = scripted(
        ToolCallReply("find_book", '{"title": "Emma"}', also=(FIND,)), FIND, TextReply("Yes."), FIND, TextReply("Yes.")
    )
    session = await stack.open(agent, model=model.string)
    await session.say("Do you have Emma?")
    await session.say("Really?")
    keys = [call.key for call in journal_of(httpserver)]
    assert len(set(keys)) == len(keys) == 4


async def test_the_error_of_a_failing_tool_is_sent_to_the_model_and_the_turn_goes_on(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service
) -> None:
    httpserver.expect_request("/books").respond_with_data("Come back later.", status=503)
    model = scripted(FIND, TextReply("I cannot look it up now."))
    session = await stack.open(agent, model=model.string)
    result = await session.say("Do you have Emma?")
    assert reply_text(result.turn) == "I cannot look it up now."
    assert (result.turn.status, result.head.status) == ("completed", "idle")
    assert len(journal_of(httpserver)) == RETRIES + 1
    failure = result.turn.events[-1].payload
    assert (failure["name"], failure["error"]) == ("find_book", "http_error")
    role, content = model.journal[-1].conversation[-1]
    assert role == "tool"
    assert content == failure["result"]
    assert "503" in content
    assert "Come back later." in content


async def test_several_tools_of_one_reply_run_before_the_transition_even_if_some_fail(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service
) -> None:
    httpserver.expect_request("/books").respond_with_json(FOUND)
    httpserver.expect_request("/hours").respond_with_data("away", status=500)
    model = scripted(ToolCallReply("to_loans", also=(ToolCallReply("opening_hours"), FIND)), TextReply("Which copy?"))
    session = await stack.open(agent, model=model.string)
    result = await session.say("Do you have Emma, and when are you open?")
    assert reply_text(result.turn) == "It stands on shelf B7.\n\nWhich copy?"
    assert sorted(call.path for call in journal_of(httpserver)) == ["/books", "/hours"]
    assert types_of(result.turn) == [
        *["tool_call_started"] * 3,
        *["tool_call_result"] * 2,
        "node_transition",
        "tool_call_result",
    ]
    returned = [text for role, text in model.journal[-1].conversation if role == "tool"]
    assert len(returned) == 3


@pytest.mark.parametrize("arguments", ['{"title": "Em', '["Emma"]', '{"author": "Austen"}', '{"title": 7}'])
async def test_invalid_arguments_are_reported_to_the_model_and_nothing_is_called(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service, arguments: str
) -> None:
    model = scripted(ToolCallReply("find_book", arguments), TextReply("Which title?"))
    session = await stack.open(agent, model=model.string)
    result = await session.say("Do you have it?")
    assert reply_text(result.turn) == "Which title?"
    assert result.turn.events[-1].payload["error"] == "invalid_arguments"
    assert journal_of(httpserver) == []


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Returns everything that was logged or printed during the test."""
    caplog.set_level(logging.DEBUG)
    return lambda: "".join([caplog.text, *capfd.readouterr()])


async def test_credentials_are_found_nowhere_but_in_the_request(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service, logged: Callable[[], str]
) -> None:
    """The service returns the credential: first in an error, then in its answer."""
    secret = CREDENTIALS["BOOKING_KEY"]
    answers = [Response(f"Who is {secret}?", 500), Response(f'{{"shelf": "B7", "you": "{secret}"}}', 200)]
    httpserver.expect_request("/books").respond_with_handler(lambda _: answers.pop(0))
    model = scripted(FIND, TextReply("Shelf B7."))
    session = await stack.open(agent, model=model.string)
    await session.say("Do you have Emma?")
    await session.end()
    await session.handle.result()

    assert [call.authorization for call in journal_of(httpserver)] == [f"Bearer {secret}"] * 2
    history = b"".join(event.SerializeToString() for event in await session.events())
    assert b"find_book" in history
    assert secret.encode() not in history
    assert secret not in await everything_in(stack.database)
    assert "B7" in str(model.journal[-1].body)
    assert secret not in str([asked.body for asked in model.journal])
    assert secret not in logged()


async def everything_in(database: Database) -> str:
    """Every row of every table."""

    def work(connection: Connection) -> str:
        tables = [connection.execute(select(table)).all() for table in metadata.sorted_tables]
        return repr([[tuple(row) for row in rows] for rows in tables])

    return await database.read(work)


# --- variables ----------------------------------------------------------------------------------


async def test_variables_are_read_when_their_node_is_left_and_are_billed(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition
) -> None:
    model = scripted(
        *(ToolCallReply("to_loans"), TextReply("Which title?")),
        *(ToolCallReply("checkout"), RECORDED, TextReply("Anything else?")),
        name=PRICED_BOOKS,
    )
    session = await stack.open(agent, model=model.string)
    moved = await session.say("I want a book.")
    assert (moved.head.gathered_context, moved.turn.usage.requests) == ({}, 2)
    result = await session.say("Two copies of Emma.")
    assert reply_text(result.turn) == "2 copies.\n\nAnything else?"
    assert result.head.gathered_context == {"title": "Emma", "copies": 2}
    assert types_of(result.turn) == ["tool_call_started", "variables_extracted", "node_transition", "tool_call_result"]
    assert result.turn.events[1].payload == {"node": "loans", "variables": {"title": "Emma", "copies": 2}}

    entries = await session.billed(3)
    assert [entry.usage.requests for entry in entries] == [0, 2, 3]
    tokens = TextReply.prompt_tokens + TextReply.completion_tokens
    assert [entry.cost.total for entry in entries] == [0, *(Decimal(tokens * calls) / 1000 for calls in (2, 3))]
    assert len(model.journal) == 5


async def test_an_extraction_sends_the_conversation_and_returns_the_variables(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service
) -> None:
    httpserver.expect_request("/books").respond_with_json(FOUND)
    model = scripted(
        ToolCallReply("to_loans"),
        TextReply("Which title?"),
        ToolCallReply("checkout", also=(FIND,)),
        RECORDED,
        TextReply("So?"),
    )
    session = await stack.open(agent, model=model.string)
    await session.say("I want a book.")
    await session.say("Two copies of Emma.")
    asked = model.journal[3]
    assert asked.tools == ["record_variables"]
    assert asked.body["tool_choice"] == "required"
    [tool] = asked.body["tools"]
    assert tool["function"]["parameters"]["properties"] == {
        "title": {"type": "string", "description": "the title of the book"},
        "copies": {"type": "number"},
    }
    texts = [text for role, text in asked.conversation[1:-1]]
    assert texts == [GREETING, "I want a book.", "Which title?", "Two copies of Emma."]
    assert not [role for role, _ in asked.conversation if role == "tool"], "calls without answers would be refused"
    last = model.journal[4]
    assert "record_variables" not in str(last.conversation), "reading variables is no part of the conversation"
    assert sorted(text for role, text in last.conversation if role == "tool")[-1] == '{"shelf":"B7","copies":2}'


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ErrorReply(400), "400"),
        (TextReply("The title is Emma."), "recorded nothing"),
        (ToolCallReply("record_variables", '{"title": "Em'), "recorded nothing"),
    ],
    ids=["refused", "text", "malformed"],
)
async def test_a_failed_extraction_is_an_event_and_the_turn_goes_on(
    stack: SessionStack,
    scripted: Scripted,
    agent: AgentDefinition,
    answer: TextReply | ToolCallReply | ErrorReply,
    error: str,
) -> None:
    model = scripted(ToolCallReply("to_loans"), ToolCallReply("checkout"), answer, TextReply("Anything else?"))
    session = await stack.open(agent, model=model.string)
    result = await session.say("Two copies of Emma.")
    assert reply_text(result.turn) == "It stands on shelf unknown.\n\nsome copies.\n\nAnything else?"
    assert (result.turn.status, result.head.gathered_context) == ("completed", {})
    [payload] = [event.payload for event in result.turn.events if event.type == "variables_extracted"]
    assert payload["variables"] == {}
    assert error in str(payload["error"])
    _, entry = await session.billed(2)
    assert entry.usage.requests == (3 if isinstance(answer, ErrorReply) else 4)


async def test_variables_of_the_last_node_are_read_before_the_session_closes(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition
) -> None:
    model = scripted(
        *(ToolCallReply("to_loans"), ToolCallReply("checkout"), RECORDED, ToolCallReply("farewell")),
        *(TextReply("Goodbye."), ToolCallReply("record_variables", '{"content": true}')),
    )
    session = await stack.open(agent, model=model.string)
    result = await session.say("Two copies of Emma, that is all.")
    assert reply_text(result.turn).endswith("Goodbye.")
    assert result.head.is_completed
    assert result.head.gathered_context == {"title": "Emma", "copies": 2}, "the goodbye does not wait for the rest"
    await session.handle.result()
    assert (await session.status()).gathered_context == {"title": "Emma", "copies": 2, "content": True}
    rows = [(entry.purpose, entry.usage.requests) for entry in await session.billed(3)]
    assert rows == [("turn", 0), ("turn", 5), ("extraction", 1)]


# --- going back ---------------------------------------------------------------------------------


async def test_a_rewind_restores_the_gathered_context_but_not_the_usage(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition
) -> None:
    model = scripted(
        *(ToolCallReply("to_loans"), TextReply("Which title?")),
        *(ToolCallReply("checkout"), RECORDED, TextReply("Anything else?")),
        *(
            ToolCallReply("checkout"),
            ToolCallReply("record_variables", '{"title": "Persuasion"}'),
            TextReply("Anything else?"),
        ),
    )
    session = await stack.open(agent, model=model.string)
    moved = await session.say("I want a book.")
    left = await session.say("Two copies of Emma.")
    head = await session.rewind(moved.turn.id)
    assert (head.current_node_id, head.gathered_context) == ("loans", {})
    assert head.usage.requests == left.head.usage.requests == 5
    again = await session.say("Persuasion, rather.")
    assert (again.head.current_node_id, again.head.gathered_context) == ("exit", {"title": "Persuasion"})
    assert reply_text(again.turn) == "some copies.\n\nAnything else?"
    assert "Emma" not in str(model.journal[-2].body), "what was taken back is not read for variables"
    assert [entry.usage.requests for entry in await session.billed(4)] == [0, 2, 3, 3]


async def test_two_agents_moved_by_tool_calls_keep_node_context_and_log_right_after_a_rewind(
    stack: SessionStack, scripted: Scripted, agent: AgentDefinition, httpserver: Service
) -> None:
    httpserver.expect_request("/books").respond_with_json(FOUND)
    running_api = scripted(
        *(ToolCallReply("to_loans", also=(FIND,)), TextReply("Which title?")),
        *(ToolCallReply("checkout"), RECORDED, TextReply("Anything else?")),
        *(FIND, TextReply("It is there.")),
    )
    walk = scripted(
        *(ToolCallReply("west"), TextReply("West.")),
        *(ToolCallReply("east"), TextReply("East again.")),
        TextReply("Still west."),
    )
    sessions = (await stack.open(agent, model=running_api.string), await stack.open(WANDERER, model=walk.string))
    library, _ = sessions
    first = await asyncio.gather(*(each.say("I want a book.") for each in sessions))
    second = await asyncio.gather(*(each.say("Emma.") for each in sessions))
    assert [result.head.gathered_context for result in second] == [{"shelf": "B7", "title": "Emma", "copies": 2}, {}]
    assert [await entered_in(each) for each in sessions] == [["desk", "loans", "exit"], ["east", "west", "east_again"]]

    heads = [await each.rewind(result.turn.id) for each, result in zip(sessions, first, strict=True)]
    assert [head.current_node_id for head in heads] == ["loans", "west"]
    assert [head.gathered_context for head in heads] == [{"shelf": "B7"}, {}]
    assert [await entered_in(each) for each in sessions] == [["desk", "loans"], ["east", "west"]]

    third = await asyncio.gather(*(each.say("Persuasion.") for each in sessions))
    assert [reply_text(result.turn) for result in third] == ["It is there.", "Still west."]
    assert [result.head.current_node_id for result in third] == ["loans", "west"]
    assert [result.head.gathered_context for result in third] == [{"shelf": "B7"}, {}]
    assert [types_of(turn) for turn in (await library.timeline()).turns] == [
        ["node_transition"],
        [*["tool_call_started"] * 2, "tool_call_result", "node_transition", "tool_call_result"],
        ["tool_call_started", "tool_call_result"],
    ]
    log = realtime_feedback_events((await library.timeline()).turns)
    assert [entry.type.removeprefix("rtf-") for entry in log if entry.turn == 2] == [
        "user-transcription",
        "function-call-start",
        "function-call-end",
        "bot-text",
    ]
    assert len({call.key for call in journal_of(httpserver)}) == 2


async def entered_in(session: SessionHandle) -> list[str | None]:
    """The nodes that were entered, by the log of the visible branch."""
    log = realtime_feedback_events((await session.timeline()).turns)
    return [entry.node_id for entry in log if entry.type == "rtf-node-transition"]
