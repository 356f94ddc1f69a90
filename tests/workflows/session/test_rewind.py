"""Rewinds: the visible turns, the model's requests, and nothing lost or refunded."""

from collections.abc import Callable

from tests.support.agents import GREETING
from tests.support.provider import Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import SessionHandle, SessionStack, reply_text
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]


async def test_a_rewind_shows_the_session_as_it_was(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(TextReply("At nine."), ToolCallReply("to_loans"), TextReply("Which title?"))
    session = await stack.open(model=model.string)
    first = await session.say("When do you open?")
    moved = await session.say("I want a book.")
    assert moved.head.current_node_id == "loans"
    head = await session.rewind(first.turn.id, expected_revision=moved.head.revision)
    assert (head.status, head.cursor_turn_id, head.current_node_id) == ("rewound", first.turn.id, "desk")
    assert head.revision == moved.head.revision + 1
    assert head.usage.llm == moved.head.usage.llm, "a rewind never changes what was spent"
    assert await session.texts() == [(None, GREETING), ("When do you open?", "At nine.")]


async def test_the_message_after_a_rewind_grows_a_branch_and_the_old_one_is_kept(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine."), TextReply("At six."), TextReply("On Sundays."))
    session = await stack.open(model=model.string)
    first = await session.say("When do you open?")
    discarded = await session.say("When do you close?")
    await session.rewind(first.turn.id)
    branched = await session.say("When are you closed?")
    assert (branched.turn.parent_id, branched.head.status) == (first.turn.id, "idle")

    view = await session.timeline()
    [branch] = view.discarded_branches
    assert (branch.rewound_from_turn_id, branch.leaf_turn_id) == (first.turn.id, discarded.turn.id)
    assert [reply_text(turn) for turn in branch.turns] == ["At six."]
    assert [reply_text(turn) for turn in view.turns] == [GREETING, "At nine.", "On Sundays."]
    assert model.journal[-1].conversation[1:] == [
        ("assistant", GREETING),
        ("user", "When do you open?"),
        ("assistant", "At nine."),
        ("user", "When are you closed?"),
    ]
    assert len(await session.billed(4)) == 4


async def test_clearing_the_cursor_shows_the_end_again(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted(TextReply("At nine.")).string)
    greeting = (await session.timeline()).turns[0]
    await session.say("When do you open?")
    await session.rewind(greeting.id)
    head = await session.rewind(None)
    assert (head.status, head.cursor_turn_id) == ("idle", None)
    assert len(await session.texts()) == 2
    assert (await session.timeline()).discarded_branches == ()


async def test_a_reply_that_comes_after_a_rewind_is_billed_but_not_shown(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("At nine.", gate=gate))
    session = await stack.open(model=model.string)
    greeting = (await session.timeline()).turns[0]
    late = await session.say("When do you open?", wait=False)
    await gate.reached()
    rewound = await session.rewind(greeting.id)
    gate.open()
    _, entry = await session.billed(2)
    assert (entry.turn_id, entry.usage.requests) == (late.turn.id, 1)

    head = await session.status()
    assert (head.status, head.revision, head.head_turn_id) == ("rewound", rewound.revision, greeting.id)
    assert head.version > rewound.version, "who holds the older state must not extend it"
    assert head.usage.requests == 1
    assert await session.texts() == [(None, GREETING)]
    stored = {turn.id: turn for turn in await session.stored_turns(late.turn.id)}
    assert reply_text(stored[late.turn.id]) == "At nine."


async def test_a_session_rewound_while_it_answered_accepts_a_message_at_once(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("Too late.", gate=gate), TextReply("At six."))
    session = await stack.open(model=model.string)
    greeting = (await session.timeline()).turns[0]
    late = await session.say("When do you open?", wait=False)
    await gate.reached()
    await session.rewind(greeting.id)
    answered = await session.say("When do you close?")
    assert reply_text(answered.turn) == "At six."
    gate.open()
    await session.billed(3)

    await eventually(lambda: _late_reply_is_there(session))
    view = await session.timeline()
    assert [reply_text(turn) for turn in view.turns] == [GREETING, "At six."]
    [branch] = view.discarded_branches
    assert branch.leaf_turn_id == late.turn.id
    assert view.head.revision == answered.head.revision
    assert ("assistant", "Too late.") not in model.journal[-1].conversation


async def test_a_rewind_to_before_the_first_turn_begins_the_conversation_anew(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine."), TextReply("Hello again."))
    session = await stack.open(model=model.string)
    greeting = (await session.timeline()).turns[0]
    await session.say("When do you open?")
    head = await session.rewind(greeting.id, before=True)
    assert (head.status, head.cursor_turn_id, head.head_turn_id) == ("rewound", None, None)
    assert await session.texts() == []
    answered = await session.say("Hello?")
    assert (answered.turn.parent_id, answered.turn.index) == (None, 0)
    assert model.journal[-1].conversation == [("user", "Hello?")]
    [branch] = (await session.timeline()).discarded_branches
    assert branch.rewound_from_turn_id is None
    assert [reply_text(turn) for turn in branch.turns] == [GREETING, "At nine."]


async def test_a_discarded_branch_is_recorded_in_the_store(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string)
    greeting = (await session.timeline()).turns[0]
    discarded = await session.say("This way.")
    await session.rewind(greeting.id)
    await session.say("That way.")
    await session.until_settled()
    [branch] = await session.stored_branches()
    assert (branch.rewound_from_turn_id, branch.leaf_turn_id) == (greeting.id, discarded.turn.id)
    assert [turn.id for turn in await session.stored_turns(discarded.turn.id)] == [greeting.id, discarded.turn.id]


async def _late_reply_is_there(session: SessionHandle) -> bool:
    [branch] = (await session.timeline()).discarded_branches
    return branch.turns[0].status == "completed"
