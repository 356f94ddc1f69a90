"""Tool calls that wait for approval, and the lookup before a conversation starts."""

import asyncio

from pytest_httpserver import HTTPServer

from domain.agents.definition import parse_definition
from store.sessions.event_log import EventLog, LogRow
from tests.support.provider import TextReply, ToolCallReply
from tests.support.refund_agent import approve, deny, refunding, waiting_approval
from tests.support.session_stack import SessionStack, rejection_of, reply_text
from tests.support.waiting import eventually
from tests.workflows.session.test_queue import Scripted


async def test_a_call_that_is_approved_is_made_and_the_turn_goes_on(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/refunds", method="POST").respond_with_json({"ok": True})
    model = scripted(ToolCallReply("refund", '{"amount": 40}'), TextReply("It is on its way."))
    session = await stack.open(refunding(httpserver), model=model.string)
    asking = asyncio.create_task(session.say("I want my money back."))
    waiting = await waiting_approval(session)
    assert (waiting.tool, waiting.arguments, waiting.reason) == ("refund", {"amount": 40}, "A refund of 40.")
    assert httpserver.log == [], "nothing is called before somebody allows it"
    assert (await approve(session, waiting.call_id)).approvals == ()
    assert reply_text((await asking).turn) == "It is on its way."
    assert len(httpserver.log) == 1


async def test_a_denied_call_is_not_made_and_the_model_receives_the_reason(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    model = scripted(ToolCallReply("refund", '{"amount": 4000}'), TextReply("I am sorry, I may not."))
    session = await stack.open(refunding(httpserver), model=model.string)
    asking = asyncio.create_task(session.say("I want my money back."))
    await deny(session, (await waiting_approval(session)).call_id, "Too much for one day.")
    turn = (await asking).turn
    assert reply_text(turn) == "I am sorry, I may not."
    assert httpserver.log == []
    assert "Too much for one day." in str(model.journal[-1].conversation)
    result = next(event for event in turn.events if event.type == "tool_call_result")
    assert result.payload["error"] == "denied"


async def test_a_call_without_a_decision_in_time_is_not_made(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    model = scripted(ToolCallReply("refund", '{"amount": 40}'), TextReply("Nobody is there to allow it."))
    session = await stack.open(refunding(httpserver, timeout_seconds=1), model=model.string)
    turn = (await session.say("I want my money back.")).turn
    assert reply_text(turn) == "Nobody is there to allow it."
    assert httpserver.log == []
    assert (await session.status()).approvals == ()


async def test_a_decision_on_a_call_that_does_not_wait_is_refused(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    session = await stack.open(refunding(httpserver), model=scripted().string)
    revision = (await session.status()).revision
    assert (await rejection_of(approve(session, "turn_none.1"))).code == "approval_not_pending"
    assert (await session.status()).revision == revision


async def test_a_call_that_waits_when_the_session_ends_is_not_made(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    session = await stack.open(refunding(httpserver), model=scripted(ToolCallReply("refund", '{"amount": 40}')).string)
    asking = asyncio.create_task(session.say("I want my money back."))
    await waiting_approval(session)
    await session.end()
    assert (await asking).turn.status == "interrupted"
    assert httpserver.log == []


async def test_values_fetched_before_the_greeting_are_in_the_greeting(
    stack: SessionStack, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/callers/7").respond_with_json({"caller": {"name": "Ada"}})
    definition = parse_definition(
        {
            "name": "knows-callers",
            "start": "desk",
            "nodes": {"desk": {"prompt": "Help.", "greeting": "Hello {{caller.name | there}}."}},
            "context": {"number": "0"},
            "tools": {
                "look_up": {
                    "kind": "http",
                    "description": "Finds a caller.",
                    "method": "GET",
                    "url": httpserver.url_for("/callers/{{number}}"),
                }
            },
            "pre_call_fetch": "look_up",
        }
    )
    session = await stack.open(definition, initial_context={"number": "7"})
    view = await session.timeline()
    assert reply_text(view.turns[0]) == "Hello Ada."
    assert view.head.fetched_context == {"caller": {"name": "Ada"}}
    await session.reply("Hello.")
    assert len(httpserver.log) == 1, "it is fetched once, not at every turn"


async def test_a_request_is_in_the_event_log_before_the_decision(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    session = await stack.open(refunding(httpserver), model=scripted(ToolCallReply("refund", '{"amount": 40}')).string)
    asking = asyncio.create_task(session.say("I want my money back."))
    waiting = await waiting_approval(session)
    log = EventLog(stack.database)

    async def requests() -> list[LogRow]:
        return [row for row in await log.after(session.id, 0) if row.type == "approval_requested"]

    (row,) = await eventually(requests)
    assert (row.turn_id, row.payload["call_id"]) == (waiting.turn_id, waiting.call_id)
    assert (row.payload["tool"], row.payload["arguments"]) == ("refund", {"amount": 40})
    assert row.payload["revision"] == (await session.status()).revision
    await deny(session, waiting.call_id, "No.")
    await asking
