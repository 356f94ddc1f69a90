"""Calls of tools that the client carries out: the turn waits for their results, durably."""

import asyncio

from contracts.sessions import SendMessageResult
from domain.sessions.commands import CancelTurn, ClientResult
from domain.sessions.timeline import WaitingClientCall
from store.sessions.event_log import EventLog, LogRow
from tests.support.client_tool_agent import BOTH_CALLS, CALL, ask, asking, operator, returned, waiting_calls
from tests.support.provider import Gate, TextReply, ToolCallReply
from tests.support.session_stack import SessionStack, rejection_of, reply_text
from tests.support.waiting import eventually
from tests.workflows.session.test_queue import Scripted
from workflows.session.workflow import SessionWorkflow


async def test_a_call_is_handed_over_and_the_turn_goes_on_with_its_result(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("You are connected."))
    session = await stack.open(operator(), model=model.string)
    handed = await ask(session, asking("Sales, please.", "transfer", message_id="m1"))
    (call,) = handed.head.client_calls
    assert (handed.turn.status, call.tool, call.arguments) == ("pending", "transfer", {"to": "sales"})
    assert (call.said, call.used.total_tokens, call.turn_id) == ("One moment.", 18, handed.turn.id)
    assert {tool["function"]["name"] for tool in model.journal[0].body["tools"]} == {"transfer"}

    done = await returned(session, ClientResult(call_id=call.call_id, content="Connected."))
    assert (reply_text(done.turn), done.said) == ("One moment.\n\nYou are connected.", len("One moment."))
    assert done.head.client_calls == ()
    assert "Connected." in str(model.journal[-1].conversation)
    result = next(event for event in done.turn.events if event.type == "tool_call_result")
    assert result.payload["result"] == "Connected."
    assert "error" not in result.payload
    await session.until_settled()
    (row,) = [row for row in await stack.ledger(session) if row.turn_id == done.turn.id]
    assert row.usage.total_tokens == 36, "both model calls are billed, with the turn"


async def test_a_client_tool_without_a_client_is_neither_offered_nor_called(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("I cannot transfer you."))
    session = await stack.open(operator(), model=model.string)
    turn = (await session.say("Sales, please.")).turn
    assert reply_text(turn) == "One moment.\n\nI cannot transfer you."
    assert "tools" not in model.journal[0].body
    result = next(event for event in turn.events if event.type == "tool_call_result")
    assert result.payload["error"] == "unknown_tool"
    assert "Available tools: none" in str(result.payload["result"])


async def test_results_of_several_calls_are_accepted_one_by_one_in_any_order(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(BOTH_CALLS, TextReply("Done."))
    session = await stack.open(operator(), model=model.string)
    handed = await ask(session, asking("Both.", "transfer", "play", message_id="m1"))
    transfer, play = calls_of(handed, "transfer", "play")
    part = await returned(session, ClientResult(call_id=play.call_id, content="It rings.", is_error=True))
    assert (part.turn.status, part.head.client_calls) == ("pending", (transfer,))
    done = await returned(session, ClientResult(call_id=transfer.call_id, content="Connected."))
    assert reply_text(done.turn) == "Done."
    errors = [event.payload.get("error") for event in done.turn.events if event.type == "tool_call_result"]
    assert errors == [None, "tool_error"]


async def test_repeated_results_join_the_turn_and_different_results_are_refused(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(CALL, TextReply("You are connected."), TextReply("Goodbye.", gate=gate))
    session = await stack.open(operator(), model=model.string)
    (call,) = (await ask(session, asking("Sales.", "transfer", message_id="m1"))).head.client_calls
    result = ClientResult(call_id=call.call_id, content="Connected.")
    first = await returned(session, result)
    again = await returned(session, result)
    assert (again.turn, again.said, again.used) == (first.turn, first.said, first.used)
    other = ClientResult(call_id=call.call_id, content="Busy.")
    assert (await rejection_of(returned(session, other))).code == "client_call_not_pending"
    unknown = ClientResult(call_id=call.call_id[:-1] + "x", content="Busy.")
    assert (await rejection_of(returned(session, unknown))).code == "client_call_not_pending"
    await session.say("Thanks.", wait=False)
    await gate.reached()  # a session that has ended stays open for the reply that is under way
    await session.end()
    assert (await rejection_of(returned(session, unknown))).code == "session_ended"
    gate.open()


async def test_a_message_instead_of_a_result_is_answered_and_the_call_ends_without_a_result(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("Of course not."))
    session = await stack.open(operator(), model=model.string)
    (call,) = (await ask(session, asking("Sales.", "transfer", message_id="m1"))).head.client_calls
    reply = await ask(session, asking("Never mind.", "transfer", message_id="m2", on_busy="interrupt"))
    assert reply_text(reply.turn) == "Of course not."
    stopped = (await session.timeline()).turns[1]
    assert (stopped.status, reply_text(stopped)) == ("interrupted", "One moment.")
    result = next(event for event in stopped.events if event.type == "tool_call_result")
    assert result.payload["error"] == "no_result"
    assert "the conversation went on without it" in str(model.journal[-1].conversation)
    late = ClientResult(call_id=call.call_id, content="Connected.")
    assert (await rejection_of(returned(session, late))).code == "client_call_not_pending"


async def test_results_sent_with_the_next_message_are_used(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(BOTH_CALLS, TextReply("You are welcome."))
    session = await stack.open(operator(), model=model.string)
    handed = await ask(session, asking("Both.", "transfer", "play", message_id="m1"))
    transfer, _ = calls_of(handed, "transfer", "play")
    results = (ClientResult(call_id=transfer.call_id, content="Connected."), ClientResult(call_id="x", content=""))
    await ask(session, asking("Thanks.", message_id="m2", on_busy="interrupt", results=results))
    stopped = (await session.timeline()).turns[1]
    found = [event.payload for event in stopped.events if event.type == "tool_call_result"]
    assert [each.get("error") for each in found] == [None, "no_result"]
    assert "Connected." in str(model.journal[-1].conversation)


async def test_a_call_without_a_result_in_time_has_an_error(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(
        operator(timeout_seconds=1), model=scripted(CALL, TextReply("Nobody answers there.")).string
    )
    await ask(session, asking("Sales.", "transfer", message_id="m1"))
    turn = (await ask(session, asking("Sales.", "transfer", message_id="m1", hands_over=False))).turn
    assert reply_text(turn) == "One moment.\n\nNobody answers there."
    result = next(event for event in turn.events if event.type == "tool_call_result")
    assert result.payload["error"] == "no_result_in_time"
    assert (await session.status()).client_calls == ()


async def test_arguments_are_checked_before_the_client_has_the_call(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(ToolCallReply("transfer", '{"towards": 7}'), TextReply("To whom?"))
    session = await stack.open(operator(), model=model.string)
    turn = (await ask(session, asking("Sales.", "transfer", message_id="m1"))).turn
    assert reply_text(turn) == "To whom?"
    result = next(event for event in turn.events if event.type == "tool_call_result")
    assert result.payload["error"] == "invalid_arguments"


async def test_a_cancel_a_rewind_or_the_end_closes_the_call(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(CALL, CALL, TextReply("Yes?"), CALL)
    session = await stack.open(operator(), model=model.string)
    await ask(session, asking("Sales.", "transfer", message_id="m1"))
    cancelled = await session.handle.execute_update(SessionWorkflow.cancel, CancelTurn())
    assert cancelled.client_calls == ()
    handed = await ask(session, asking("Sales!", "transfer", message_id="m2"))
    await session.rewind(handed.turn.parent_id)
    assert len((await session.status()).client_calls) == 1, "a rewind stops no reply"
    await ask(session, asking("Hello?", message_id="m3"))
    assert (await session.status()).client_calls == ()
    await ask(session, asking("Sales.", "transfer", message_id="m4"))
    ended = await session.end()
    await eventually(lambda: _has_closed_all(session.id, stack))
    assert ended.is_completed


async def test_a_call_survives_another_worker_and_is_in_the_event_log_while_it_waits(
    stack: SessionStack, scripted: Scripted
) -> None:
    session = await stack.open(operator(), model=scripted(CALL, TextReply("Done.")).string)
    asked = asyncio.create_task(ask(session, asking("Sales.", "transfer", message_id="m1")))
    (call,) = await waiting_calls(session, 1)
    log = EventLog(stack.database)

    async def rows() -> list[LogRow]:
        return [row for row in await log.after(session.id, 0) if row.type == "client_call_requested"]

    (row,) = await eventually(rows)
    assert (row.turn_id, row.payload["call_id"], row.payload["tool"]) == (call.turn_id, call.call_id, "transfer")
    assert (row.payload["arguments"], row.payload["said"]) == ({"to": "sales"}, "One moment.")
    await asked
    await returned(session, ClientResult(call_id=call.call_id, content="Connected."))
    await session.until_settled()
    closed = [row for row in await log.after(session.id, 0) if row.type == "client_call_closed"]
    assert [(row.turn_id, row.payload["outcome"]) for row in closed] == [(call.turn_id, "returned")]


async def _has_closed_all(session_id: str, stack: SessionStack) -> bool:
    rows = await EventLog(stack.database).after(session_id, 0)
    closed = [row for row in rows if row.type == "client_call_closed"]
    return [row.payload["outcome"] for row in closed] == ["unanswered"] * 3


def calls_of(handed: SendMessageResult, *tools: str) -> list[WaitingClientCall]:
    """The waiting calls of these tools: calls of one reply wait in the order in which their arguments were checked."""
    waiting = {call.tool: call for call in handed.head.client_calls}
    return [waiting[tool] for tool in tools]
