"""Scenarios of recorded histories: HTTP and client tools, approvals, variables and the lookup before the greeting."""

import asyncio

from pytest_httpserver import HTTPServer

from domain.agents.definition import AgentDefinition, parse_definition
from domain.sessions.commands import ClientResult, SendMessage
from domain.sessions.timeline import WaitingApproval
from domain.turns.turn import ReplyOptions
from tests.support.booking_agent import library_agent
from tests.support.client_tool_agent import BOTH_CALLS, CALL, ask, asking, operator, returned
from tests.support.provider import ErrorReply, ModelProvider, TextReply, ToolCallReply
from tests.support.refund_agent import approve, deny, refunding, waiting_approval, waiting_approvals
from tests.support.session_stack import SessionHandle, SessionStack
from tests.support.waiting import eventually

FIND = ToolCallReply("find_book", '{"title": "Emma"}')
RECORDED = ToolCallReply("record_variables", '{"title": "Emma", "copies": "2"}')
REFUND = ToolCallReply("refund", '{"amount": 40}')


async def tools(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A tool that works, one that works at the third attempt, one that fails for good, and a transition among calls."""
    model = provider.model("tools")
    model.script(
        *(FIND, TextReply("Shelf B7.")),
        *(FIND, TextReply("Still there.")),
        *(ToolCallReply("opening_hours"), TextReply("I cannot look it up now.")),
        *(ToolCallReply("find_book", '{"title": 7}'), TextReply("Which title?")),
        *(ToolCallReply("to_loans", also=(ToolCallReply("opening_hours"), FIND)), TextReply("Which copy?")),
    )
    with HTTPServer() as service:
        for status in (200, 503, 503):
            service.expect_oneshot_request("/books").respond_with_json({"shelf": "B7"}, status=status)
        service.expect_request("/books").respond_with_json({"shelf": "B7"})
        service.expect_request("/hours").respond_with_data("away", status=500)
        session = await stack.open(library_of(service), model=model.string)
        for text in ("Do you have Emma?", "Really?", "When are you open?", "Seven?", "Both, please"):
            await session.say(text)
        await session.until_settled()
    return session


async def variables(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Variables extracted when a node is left, missing after a model failure, and extracted at the end node."""
    model = provider.model("variables")
    model.script(
        *(ToolCallReply("to_loans"), TextReply("Which title?")),
        *(ToolCallReply("checkout"), RECORDED, TextReply("Anything else?")),
        *(ToolCallReply("checkout"), ErrorReply(400), TextReply("Anything else?")),
        *(ToolCallReply("farewell"), TextReply("Goodbye."), ToolCallReply("record_variables", '{"content": true}')),
    )
    with HTTPServer() as service:
        session = await stack.open(library_of(service), model=model.string)
        asked = await session.say("I want a book.")
        await session.say("Two copies of Emma.")
        await session.rewind(asked.turn.id)
        await session.say("Never mind which.")
        await session.say("That is all.")
        await session.handle.result()
    return session


async def approvals(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Calls approved, denied, expired, decided in another order, made moot by a rewind, and waiting at the end."""
    model = provider.model("approvals")
    model.script(
        *(REFUND, TextReply("It is on its way.")),
        *(REFUND, TextReply("I may not.")),
        *(REFUND, TextReply("Nobody is there to allow it.")),
        *(
            ToolCallReply("refund", '{"amount": 1}', also=(ToolCallReply("refund", '{"amount": 2}'),)),
            TextReply("One of the two."),
        ),
        *(REFUND, REFUND),
    )
    with HTTPServer() as service:
        service.expect_request("/refunds").respond_with_json({"ok": True})
        session = await stack.open(refunding(service, timeout_seconds=5), model=model.string)

        asking = asyncio.create_task(session.say("I want my money back."))
        await approve(session, (await waiting_approval(session)).call_id)
        first = await asking

        asking = asyncio.create_task(session.say("More."))
        await deny(session, (await waiting_approval(session)).call_id, "Too much for one day.")
        await asking

        await session.say("Tomorrow, then.")

        asking = asyncio.create_task(session.say("In two parts."))
        one, two = await waiting_approvals(session, 2)
        await deny(session, two.call_id, "")
        await approve(session, one.call_id)
        await asking

        asking = asyncio.create_task(session.say("All of it."))
        moot = await waiting_approval(session)
        await session.rewind(first.turn.id)
        again = asyncio.create_task(session.say("Again."))
        await asking

        await eventually(lambda: _another_waits(session, moot))
        await session.end()
        await again
        await session.handle.result()
    return session


async def client_tools(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Calls with results, with some of them, without any in time, after a message, after a rewind, and at the end."""
    model = provider.model("client-tools")
    model.script(
        *(BOTH_CALLS, TextReply("Connected.")),
        *(CALL, TextReply("Nobody answers.")),
        *(BOTH_CALLS, TextReply("You are welcome.")),
        *(ToolCallReply("transfer", '{"towards": 7}'), CALL, CALL, TextReply("Yes?"), CALL),
    )
    session = await stack.open(operator(timeout_seconds=3), model=model.string)
    tools = ("transfer", "play")

    one, two = (await ask(session, asking("Both.", *tools, message_id="m1"))).head.client_calls
    await returned(session, ClientResult(call_id=two.call_id, content="It rings.", is_error=True))
    first = await returned(session, ClientResult(call_id=one.call_id, content="Connected."))
    await returned(session, ClientResult(call_id=one.call_id, content="Connected."))

    await ask(session, asking("Sales.", *tools, message_id="m2", hands_over=False))

    one, _ = (await ask(session, asking("Both.", *tools, message_id="m3"))).head.client_calls
    results = (ClientResult(call_id=one.call_id, content="Connected."),)
    await ask(session, asking("Thanks.", message_id="m4", on_busy="interrupt", results=results))

    await ask(session, asking("Seven.", *tools, message_id="m5"))
    await session.rewind(first.turn.id)
    await ask(session, asking("Again.", *tools, message_id="m6"))
    await ask(session, asking("Hello?", message_id="m7", on_busy="interrupt"))
    await ask(session, asking("Sales.", *tools, message_id="m8"))
    await session.end()
    await session.handle.result()
    return session


async def fetched_before_the_opening(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A lookup that succeeds at the second attempt is in the greeting, and is known in the next run."""
    model = provider.model("pre-call-fetch")
    with HTTPServer() as service:
        service.expect_oneshot_request("/callers/7").respond_with_data("away", status=503)
        service.expect_request("/callers/7").respond_with_json({"caller": {"name": "Ada"}})
        session = await stack.open(knowing_callers(service), model=model.string, initial_context={"number": "7"})
        runs = {(await session.status()).run_id}
        while len(runs) < 2:
            runs.add((await session.say("Hello")).head.run_id)
        await session.say("And hello again")
        await session.until_settled()
    return session


def library_of(service: HTTPServer) -> AgentDefinition:
    """The library, with tools of this service."""
    return library_agent(service.url_for("").rstrip("/"))


def knowing_callers(service: HTTPServer) -> AgentDefinition:
    """An agent that looks up the user before it greets."""
    return parse_definition(
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
                    "url": service.url_for("/callers/{{number}}"),
                    "retry_pause_seconds": 0.05,
                }
            },
            "pre_call_fetch": "look_up",
        }
    )


async def _another_waits(session: SessionHandle, than: WaitingApproval) -> bool:
    waiting = (await session.status()).approvals
    return bool(waiting) and than.call_id not in {each.call_id for each in waiting}


async def options(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Messages with options and without: other values for the templates, and tools of the client."""
    session = await stack.open(operator(), model=provider.model("options").string)
    await ask(session, asking("Sales, please.", "transfer", message_id="m1"))
    await ask(session, SendMessage(text="Today?", message_id="m2", options=ReplyOptions(context={"day": "Monday"})))
    await ask(session, SendMessage(text="Thanks.", message_id="m3"))
    await session.until_settled()
    return session
