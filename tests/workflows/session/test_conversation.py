"""A regular conversation: greeting, replies, transitions, and the model's requests."""

from collections.abc import Callable

from tests.support.agents import CLERK, GREETING, WANDERER
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import SessionStack, reply_text, types_of

Scripted = Callable[..., ScriptedModel]


async def test_a_session_greets_without_a_model_call(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted()
    session = await stack.open(model=model.string)
    head = await session.status()
    assert await session.texts() == [(None, GREETING)]
    assert (head.status, head.revision, head.current_node_id) == ("idle", 2, "desk")
    assert model.journal == []


async def test_templates_of_a_greeting_are_filled_from_the_initial_context(stack: SessionStack) -> None:
    session = await stack.open(initial_context={"time_of_day": "evening"})
    assert await session.texts() == [(None, "Good evening, this is the town library.")]


async def test_an_agent_without_a_greeting_lets_the_model_open(stack: SessionStack, scripted: Scripted) -> None:
    silent = CLERK.nodes["desk"].model_copy(update={"greeting": None})
    agent = CLERK.model_copy(update={"name": "silent-clerk", "nodes": {**CLERK.nodes, "desk": silent}})
    model = scripted(TextReply("Welcome to the library."))
    session = await stack.open(agent, model=model.string)
    assert await session.texts() == [(None, "Welcome to the library.")]
    [asked] = model.journal
    assert [role for role, _ in asked.conversation] == ["user"]


async def test_a_message_is_answered_by_the_model(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(TextReply("We open at nine."))
    session = await stack.open(model=model.string)
    result = await session.say("When do you open?", message_id="msg_1", expected_revision=2)
    assert reply_text(result.turn) == "We open at nine."
    assert result.turn.usage.llm[f"openai:{model.name}"].total_tokens == 18
    assert result.head.revision == 4
    assert result.turn.user_message is None, "the caller has its own text; it must not stand in history twice"
    assert await session.texts() == [(None, GREETING), ("When do you open?", "We open at nine.")]


async def test_the_model_receives_its_node_the_transitions_and_the_conversation(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine."), TextReply("At six."))
    session = await stack.open(model=model.string)
    await session.say("When do you open?")
    await session.say("And when do you close?")
    _, asked = model.journal
    assert asked.instructions == "You speak for the town library.\n\nFind out what the visitor wants."
    assert asked.tools == ["to_loans", "farewell"]
    assert asked.conversation[-4:] == [
        ("assistant", GREETING),
        ("user", "When do you open?"),
        ("assistant", "At nine."),
        ("user", "And when do you close?"),
    ]


async def test_a_transition_changes_the_node_within_the_turn(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(ToolCallReply("to_loans"), TextReply("Which title?"))
    session = await stack.open(model=model.string)
    result = await session.say("I want a book.")
    assert reply_text(result.turn) == "I look it up.\n\nWhich title?"
    assert result.turn.node_id == result.head.current_node_id == "loans"
    assert types_of(result.turn) == ["tool_call_started", "node_transition", "tool_call_result"]
    assert result.turn.usage.requests == len(model.journal) == 2
    _, second = model.journal
    assert second.instructions.endswith("Ask for the title.")
    assert second.tools == ["back", "farewell"]
    role, content = second.conversation[-1]
    assert (role, content) == ("tool", "The conversation is now at loans. The user was just told: I look it up.")


async def test_an_end_node_ends_the_session_with_its_words(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(ToolCallReply("farewell"), TextReply("Goodbye."))
    session = await stack.open(model=model.string)
    result = await session.say("That was all.")
    assert reply_text(result.turn) == "Goodbye."
    assert result.head.status == "completed"
    closed = await session.handle.result()
    assert (closed.completion_reason, closed.turns) == ("end_node", 2)
    assert len(await session.billed(2)) == 2


async def test_a_call_of_an_unknown_tool_returns_the_names_of_the_known_tools(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(ToolCallReply("order_pizza", '{"size": "large"}'), TextReply("I cannot do that."))
    session = await stack.open(model=model.string)
    result = await session.say("A pizza, please.")
    assert reply_text(result.turn) == "I cannot do that."
    assert types_of(result.turn) == ["tool_call_started", "tool_call_result"]
    assert result.turn.events[1].payload["error"] == "unknown_tool"
    assert "to_loans, farewell" in model.journal[1].conversation[-1][1]


async def test_malformed_arguments_of_a_tool_do_not_stop_the_turn(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(ToolCallReply("to_loans", '{"title": "Emma'), TextReply("Which title?"))
    session = await stack.open(model=model.string)
    result = await session.say("I want a book.")
    assert reply_text(result.turn) == "I look it up.\n\nWhich title?"
    assert len(model.journal) == 2


async def test_a_blank_reply_is_requested_again_and_billed(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(TextReply(""), TextReply("   "), TextReply("Yes."))
    session = await stack.open(model=model.string)
    result = await session.say("Are you there?")
    assert reply_text(result.turn) == "Yes."
    assert result.turn.usage.requests == len(model.journal) == 3
    _, entry = await session.billed(2)
    assert entry.usage.requests == 3


async def test_a_model_that_returns_only_blank_replies_fails_the_turn(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(TextReply(""), TextReply(""), TextReply(""))
    session = await stack.open(model=model.string)
    result = await session.say("Are you there?")
    assert result.turn.status == "failed"
    assert result.head.status == "error"
    assert "neither text nor a tool call" in (result.turn.error or "")
    assert len(model.journal) == 3
    _, entry = await session.billed(2)
    assert entry.usage.requests == 3, "what a failed turn spent is billed"


async def test_a_turn_that_changes_nodes_in_a_circle_fails_at_its_step_limit(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(ToolCallReply("west"), ToolCallReply("east"), ToolCallReply("west"), ToolCallReply("east"))
    session = await stack.open(WANDERER, model=model.string)
    result = await session.say("Go.")
    assert result.turn.status == "failed"
    assert "limits.max_steps_per_turn" in (result.turn.error or "")
    assert len(model.journal) == 4
    assert (await session.status()).current_node_id == "east", "a failed turn moves nothing"
