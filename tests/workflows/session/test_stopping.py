"""Stopped replies: finished work is kept, and the conversation continues from there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pytest_httpserver import HTTPServer

from domain.agents.definition import AgentDefinition
from domain.agents.tools import HttpTool
from domain.sessions.commands import CancelTurn
from domain.sessions.views import SessionHead
from tests.support.booking_agent import library_agent
from tests.support.provider import PATIENCE, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.refund_agent import refunding, waiting_approval
from tests.support.session_stack import SessionHandle, SessionStack, reply_text
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow

Scripted = Callable[..., ScriptedModel]


async def cancelled(session: SessionHandle) -> SessionHead:
    """Stop the reply that is pending."""
    return await session.handle.execute_update(SessionWorkflow.cancel, CancelTurn())


async def test_a_pending_approval_is_withdrawn_with_the_cancelled_reply(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    model = scripted(ToolCallReply("refund", '{"amount": 40}', text="Let me see."), TextReply("As you like."))
    session = await stack.open(refunding(httpserver), model=model.string)
    await session.say("I want my money back.", wait=False)
    await waiting_approval(session)
    head = await cancelled(session)
    assert (head.status, head.approvals) == ("idle", ())
    turn = (await session.timeline()).turns[-1]
    assert (turn.status, reply_text(turn)) == ("interrupted", "Let me see.")
    assert await session.reply("Never mind.") == "As you like."
    assert httpserver.log == [], "the call was never made"
    results = [message for message in model.journal[-1].body["messages"] if message["role"] == "tool"]
    assert len(results) == 1, "the model learns what became of its call"


async def test_a_completed_tool_result_is_kept_although_another_call_is_interrupted(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hours").respond_with_json({"open": "nine"})
    model = scripted(ToolCallReply("opening_hours", also=(ToolCallReply("find_book"),)), TextReply("At nine."))
    async with hanging_service() as hanging:
        session = await stack.open(hanging_library(httpserver, hanging.url), model=model.string)
        await session.say("When, and which?", wait=False)
        await hanging.reached()
        await eventually(lambda: answered(httpserver))
        await eventually(lambda: one_tool_is_done(session))
        assert (await cancelled(session)).status == "idle"
    turn = (await session.timeline()).turns[-1]
    results = {
        event.payload["name"]: event.payload.get("error") for event in turn.events if event.type == "tool_call_result"
    }
    assert turn.status == "interrupted"
    assert results == {"opening_hours": None, "find_book": "interrupted"}
    assert await session.reply("When?") == "At nine."
    assert "nine" in str([message for message in model.journal[-1].body["messages"] if message["role"] == "tool"])


async def test_a_signal_can_interrupt_and_roll_back(stack: SessionStack, scripted: Scripted) -> None:
    first, second = Gate(), Gate()
    model = scripted(
        TextReply("A long story begins.", gate=first), TextReply("Another one begins.", gate=second), TextReply("Done.")
    )
    session = await stack.open(model=model.string)
    await session.say("Tell me a story", wait=False)
    await first.reached()
    await session.handle.signal("user_message", {"text": "Another one", "on_busy": "interrupt"})
    await second.reached()
    await session.handle.signal("user_message", {"text": "No, stop", "on_busy": "rollback"})

    async def is_answered() -> bool:
        return (await session.texts())[-1] == ("No, stop", "Done.")

    await eventually(is_answered)
    assert [text for text, _ in await session.texts()] == [None, "Tell me a story", "No, stop"]
    await session.billed(4)


def hanging_library(service: HTTPServer, hanging_url: str) -> AgentDefinition:
    """The library, with a service for its books that never answers."""
    library = library_agent(service.url_for("").rstrip("/"))
    find_book = library.tools["find_book"]
    assert isinstance(find_book, HttpTool)
    changes = {"url": f"{hanging_url}/books", "headers": {}, "secrets": ()}
    tools = {**library.tools, "find_book": find_book.model_copy(update=changes)}
    return library.model_copy(update={"tools": tools})


class HangingService:
    """A service that accepts requests and never answers."""

    def __init__(self) -> None:
        self.url = ""
        self._reached = asyncio.Event()

    async def reached(self) -> None:
        """Wait until a client has connected."""
        async with asyncio.timeout(PATIENCE):
            await self._reached.wait()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read what a client sends, without an answer."""
        self._reached.set()
        await reader.read()
        writer.close()


@asynccontextmanager
async def hanging_service() -> AsyncIterator[HangingService]:
    """The hanging service on a free port, while the block runs."""
    service = HangingService()
    server = await asyncio.start_server(service.listen, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        server.close()


async def answered(service: HTTPServer) -> bool:
    """True once the service has answered a request."""
    return bool(service.log)


async def one_tool_is_done(session: SessionHandle) -> bool:
    """True once Temporal has the result of one of two tools."""
    return (await session.event_counts())["ACTIVITY_TASK_COMPLETED"] >= 2 and len(
        await session.scheduled("call_tool")
    ) == 2
