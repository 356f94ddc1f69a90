"""Ends of sessions: by request, end node, limit or inactivity, and the settlement before them."""

from collections.abc import Callable
from decimal import Decimal

from temporalio.api.enums.v1 import EventType

from domain.turns.extraction import RECORD_TOOL
from store.sessions.event_log import EventLog
from store.sessions.sessions import SessionStore
from tests.support.agents import ASKING, PARTING, limited
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import ORGANIZATION, PRICED, SessionHandle, SessionStack, reply_text, types_of
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

TIMER_STARTED = EventType.EVENT_TYPE_TIMER_STARTED
TIMER_FIRED = EventType.EVENT_TYPE_TIMER_FIRED


async def test_a_session_that_is_ended_closes_with_its_reason(stack: SessionStack) -> None:
    session = await stack.open()
    head = await session.end("the building burns", expected_revision=2)
    assert (head.status, head.is_completed, head.revision) == ("completed", True, 3)
    closed = await session.handle.result()
    assert closed.model_dump() == {"completion_reason": "the building burns", "revision": 3, "turns": 1}


async def test_a_reply_that_is_pending_at_the_end_is_settled_before_the_session_closes(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate)).string)
    pending = await session.say("When do you open?", wait=False)
    await gate.reached()
    ended = await session.end()
    gate.open()
    closed = await session.handle.result()
    assert closed.revision == ended.revision, "a late reply moves no revision"
    entries = await stack.ledger(session)
    assert [entry.usage.requests for entry in entries] == [0, 1]
    [_, stored] = await session.stored_turns(pending.turn.id)
    assert reply_text(stored) == "At nine."
    assert "session_end" in types_of(stored)


async def test_a_failing_reply_at_the_end_does_not_keep_the_session_open(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("", gate=gate), ErrorReply(401)).string)
    await session.say("When do you open?", wait=False)
    await gate.reached()
    await session.end()
    gate.open()
    assert (await session.handle.result()).completion_reason == "user_hangup"
    assert [entry.usage.requests for entry in await stack.ledger(session)] == [0, 1]


async def test_a_session_ends_at_its_turn_limit(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(limited(max_turns=2), model=scripted().string)
    result = await session.say("Hello")
    assert (result.head.status, result.head.completion_reason) == ("completed", "max_turns")
    assert (await session.handle.result()).completion_reason == "max_turns"
    assert len(await stack.ledger(session)) == 2


async def test_a_session_ends_at_its_cost_limit(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(TextReply("One."), TextReply("Two."), name=PRICED)
    session = await stack.open(limited(max_cost_usd="0.03"), model=model.string)
    first = await session.say("1")
    assert (str(first.turn.cost.total), first.head.status) == ("0.018000000000", "idle")
    second = await session.say("2")
    assert (second.head.completion_reason, second.head.cost.unpriced_models) == ("max_cost", ())
    await session.handle.result()
    entries = await stack.ledger(session)
    assert sum(entry.cost.total for entry in entries) == second.head.cost.total


async def test_the_price_per_second_counts_towards_the_cost_limit(stack: SessionStack, scripted: Scripted) -> None:
    a_dollar_a_millisecond = Decimal(1000)
    session = await stack.prepare(
        limited(max_cost_usd="1"), model=scripted(TextReply("One.")).string, price_per_second=a_dollar_a_millisecond
    )
    await session.greet()
    result = await session.say("1")
    assert result.head.completion_reason == "max_cost"
    assert set(result.turn.cost.breakdown) == {"duration"}
    await session.handle.result()
    [_, entry] = await stack.ledger(session)
    assert entry.cost == result.turn.cost


async def test_a_model_without_a_price_is_named_and_never_counted_as_free(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted()
    session = await stack.open(model=model.string)
    result = await session.say("Hello")
    assert result.turn.cost.unpriced_models == (f"openai:{model.name}",)
    assert result.turn.cost.breakdown == {}


async def test_an_inactive_session_ends_once_and_messages_postpone_its_end(
    stack: SessionStack, scripted: Scripted
) -> None:
    left, busy = [await stack.open(limited(inactivity_seconds=5), model=scripted().string) for _ in range(2)]
    opened = (await left.status()).updated_at

    async def ended_meanwhile() -> bool:
        await busy.say("I am still here.")
        return (await left.status()).is_completed

    await eventually(ended_meanwhile)
    closed = await left.handle.result()
    assert closed.completion_reason == "user_idle_max_duration_exceeded"
    assert await fired_for(left, seconds=5) == 1
    assert ((await left.status()).updated_at - opened).total_seconds() >= 5.0
    assert not (await busy.status()).is_completed


async def test_a_session_ends_at_its_deadline_while_a_reply_is_pending(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(limited(deadline_seconds=5), model=scripted(TextReply("Too late.", gate=gate)).string)
    pending = await session.say("Hello", wait=False)
    await gate.reached()

    async def has_ended() -> bool:
        return (await session.status()).is_completed

    await eventually(has_ended)
    head = await session.status()
    assert head.completion_reason == "deadline"
    assert (head.updated_at - head.created_at).total_seconds() >= 5.0
    gate.open()
    assert (await session.handle.result()).completion_reason == "deadline"
    [_, stored] = await session.stored_turns(pending.turn.id)
    assert reply_text(stored) == "Too late.", "a paid reply is kept"


async def test_variables_are_read_when_a_session_is_ended_from_outside(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(TextReply("Which title?"), ToolCallReply(RECORD_TOOL, '{"title": "Emma", "copies": 2}'))
    session = await stack.open(ASKING, model=model.string)
    await session.say("I would like Emma, two of it")
    head = await session.end()
    assert head.gathered_context == {}, "the end does not wait for it"
    await session.handle.result()
    stored = await SessionStore(stack.database).find(ORGANIZATION, session.id)
    assert stored is not None
    assert stored.head is not None
    assert stored.head.gathered_context == {"title": "Emma", "copies": 2}
    assert stored.head.usage.requests == 2
    last = (await session.stored_turns(head.head_turn_id))[-1]
    assert types_of(last)[-2:] == ["session_end", "variables_extracted"]
    rows = await stack.ledger(session)
    assert [(row.purpose, row.usage.requests) for row in rows] == [("turn", 0), ("turn", 1), ("extraction", 1)]


async def test_a_goodbye_does_not_wait_for_the_variables_of_its_node(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    reading = ToolCallReply(RECORD_TOOL, '{"content": true}', gate=gate)
    model = scripted(ToolCallReply("farewell"), TextReply("Goodbye."), reading)
    session = await stack.open(PARTING, model=model.string)
    last = await session.say("That is all")
    assert (reply_text(last.turn), last.head.completion_reason) == ("Goodbye.", "end_node")
    await gate.reached()
    gate.open()
    await session.handle.result()
    assert (await session.status()).gathered_context == {"content": True}
    rows = await stack.ledger(session)
    assert [(row.purpose, row.usage.requests) for row in rows] == [("turn", 0), ("turn", 2), ("extraction", 1)]


async def test_session_completed_is_logged_after_the_last_extraction(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    model = scripted(
        ToolCallReply("farewell"), TextReply("Goodbye."), ToolCallReply(RECORD_TOOL, '{"content": true}', gate=gate)
    )
    session = await stack.open(PARTING, model=model.string)
    await session.say("That is all")
    await gate.reached()

    async def logged() -> list[str]:
        return [row.type for row in await EventLog(stack.database).after(session.id, 0, limit=100)]

    async def has_said_goodbye() -> bool:
        return (await logged())[-2:] == ["session_end", "turn_completed"]

    await eventually(has_said_goodbye)
    gate.open()
    await session.handle.result()
    assert (await logged())[-4:] == ["session_end", "turn_completed", "variables_extracted", "session_completed"]


async def test_a_failed_extraction_does_not_keep_the_session_open(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(ASKING, model=scripted(TextReply("Which title?"), ErrorReply(401)).string)
    await session.say("I would like Emma")
    head = await session.end()
    assert (await session.handle.result()).completion_reason == "user_hangup"
    last = (await session.stored_turns(head.head_turn_id))[-1]
    assert last.events[-1].payload["error"]


async def test_a_conversation_without_user_messages_has_no_extraction(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted()
    session = await stack.open(ASKING, model=model.string)
    await session.end()
    await session.handle.result()
    assert model.journal == []


async def fired_for(session: SessionHandle, *, seconds: int) -> int:
    """The number of timers of about this length that have fired."""
    events = await session.events()
    fired = {event.timer_fired_event_attributes.timer_id for event in events if event.event_type == TIMER_FIRED}
    started = (event.timer_started_event_attributes for event in events if event.event_type == TIMER_STARTED)
    return sum(
        timer.timer_id in fired and abs(timer.start_to_fire_timeout.ToTimedelta().total_seconds() - seconds) < 0.5
        for timer in started
    )
