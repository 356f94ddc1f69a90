"""The engine: greetings, transitions, unknown tools, empty replies, limits and checkpoints."""

from decimal import Decimal

import pytest

from domain.agents.definition import Limits, Node
from domain.turns.engine import MAX_BLANK_REPLIES, ModelReply, instructions_at, start_checkpoint, template_values
from domain.turns.turn import AgentSaid, Checkpoint, ToolReturned, UserSaid
from domain.usage import ModelUsage, Usage, rounded_cost, unpriced_cost
from tests.domain.turns.answering import AGENT, CONTEXT, after, asked, calling, moves, opened

# --- opening ------------------------------------------------------------------------------------


def test_a_greeting_needs_no_model_call() -> None:
    progress = opened()
    assert (progress.outcome, progress.text, progress.steps) == ("answered", "Good evening Ann.", 0)
    assert progress.messages == (AgentSaid(text="Good evening Ann."),)
    assert moves(progress) == [(None, "greet")]


@pytest.mark.parametrize("greeting", [None, "", "  \n", "{{nobody}}"])
def test_without_a_greeting_text_the_model_opens_the_conversation(greeting: str | None) -> None:
    silent = AGENT.model_copy(update={"nodes": {**AGENT.nodes, "greet": Node(prompt="Hi.", greeting=greeting)}})
    progress = opened(silent)
    assert progress.next_step == "reply"
    assert progress.messages == ()
    progress = after(progress, ModelReply(text="Hello!"), agent=silent)
    assert (progress.outcome, progress.text, progress.steps) == ("answered", "Hello!", 1)


def test_a_message_before_the_greeting_enters_the_start_node_and_is_answered() -> None:
    progress = asked(checkpoint=start_checkpoint(AGENT))
    assert progress.next_step == "reply"
    assert progress.said == ()
    assert moves(progress) == [(None, "greet")]
    assert moves(asked()) == []


def test_opening_on_an_end_node_ends_the_session() -> None:
    assert opened(AGENT.model_copy(update={"start": "hang_up"})).outcome == "ended"


# --- text and transitions -----------------------------------------------------------------------


def test_text_ends_the_turn() -> None:
    progress = after(asked(), ModelReply(text="Certainly."))
    assert (progress.outcome, progress.text, progress.node_id) == ("answered", "Certainly.", "greet")
    assert progress.messages == ()


def test_a_transition_changes_the_node_says_its_text_and_continues_with_the_model() -> None:
    progress = after(asked(), calling("to_booking"))
    assert progress.next_step == "reply"
    assert (progress.node_id, progress.said) == ("booking", ("One moment, Ann.",))
    (returned,) = progress.messages
    assert isinstance(returned, ToolReturned)
    assert (returned.call_id, returned.name) == ("c1", "to_booking")
    assert "booking" in returned.content
    assert "One moment, Ann." in returned.content
    assert [(event.type, event.payload) for event in progress.events] == [
        ("tool_call_started", {"call_id": "c1", "name": "to_booking", "arguments": {}}),
        ("node_transition", {"from_node": "greet", "to_node": "booking", "transition": "to booking"}),
        ("tool_call_result", {"call_id": "c1", "name": "to_booking", "result": returned.content}),
    ]


def test_several_transitions_in_a_chain_answer_one_turn() -> None:
    progress = after(asked(), calling("to_booking"), calling("bye", first=2), ModelReply(text="Goodbye."))
    assert (progress.outcome, progress.steps, progress.node_id) == ("ended", 3, "goodbye")
    assert moves(progress) == [("greet", "booking"), ("booking", "goodbye")]
    assert progress.said == ("One moment, Ann.", "Goodbye.")


def test_greeting_of_the_node_that_was_entered_is_the_answer() -> None:
    progress = after(asked(), calling("to_booking"), calling("back", text="Hm."))
    assert progress.outcome == "answered"
    assert progress.said == ("One moment, Ann.", "Hm.", "Back to the start.", "Good evening Ann.")
    assert moves(progress) == [("greet", "booking"), ("booking", "greet")]


def test_text_next_to_a_tool_call_is_kept() -> None:
    progress = after(asked(), calling("to_booking", text="Let me see."), ModelReply(text="For when?"))
    assert progress.text == "Let me see.\n\nOne moment, Ann.\n\nFor when?"


def test_a_transition_without_a_text_says_nothing() -> None:
    assert after(asked(), calling("bye")).said == ()


def test_a_self_transition_says_its_text_but_does_not_greet_again() -> None:
    progress = after(asked(), calling("again"))
    assert progress.next_step == "reply"
    assert (progress.node_id, progress.said) == ("greet", ("Sure.",))
    assert moves(progress) == [("greet", "greet")]


def test_second_transition_in_one_reply_is_answered_and_ignored() -> None:
    progress = after(asked(), calling("to_booking", "bye"))
    assert progress.node_id == "booking"
    assert moves(progress) == [("greet", "booking")]
    returned = {each.call_id: each.content for each in progress.messages if isinstance(each, ToolReturned)}
    assert returned.keys() == {"c1", "c2"}
    assert "booking" in returned["c1"]
    assert returned["c2"].startswith("Ignored")


def test_reply_on_an_end_node_ends_the_session() -> None:
    progress = after(asked(), calling("bye"), ModelReply(text="Goodbye."))
    assert (progress.outcome, progress.node_id, progress.text) == ("ended", "goodbye", "Goodbye.")


def test_end_node_with_a_greeting_ends_the_session_without_another_model_call() -> None:
    progress = after(asked(), calling("hang_up"))
    assert (progress.outcome, progress.text, progress.steps) == ("ended", "I am ending this call.", 1)


# --- tools that do not exist --------------------------------------------------------------------


def test_unknown_tool_is_answered_with_those_that_exist() -> None:
    progress = after(asked(), calling("book_flight"))
    assert progress.next_step == "reply"
    assert progress.node_id == "greet"
    (returned,) = progress.messages
    assert isinstance(returned, ToolReturned)
    assert "book_flight" in returned.content
    assert "to_booking, bye, again, hang_up" in returned.content
    assert [event.type for event in progress.events] == ["tool_call_started", "tool_call_result"]
    assert progress.events[1].payload["error"] == "unknown_tool"


def test_tools_of_another_node_are_unknown_and_a_node_without_any_says_none() -> None:
    progress = after(asked(), calling("bye"), calling("to_booking", first=2))
    (returned,) = progress.messages
    assert isinstance(returned, ToolReturned)
    assert returned.content.endswith("Available tools: none.")
    assert progress.node_id == "goodbye"


def test_unknown_tool_next_to_a_transition_does_not_stop_it() -> None:
    progress = after(asked(), calling("book_flight", "to_booking"))
    assert progress.node_id == "booking"
    returned = [message.call_id for message in progress.messages if isinstance(message, ToolReturned)]
    assert returned == ["c1", "c2"]


# --- empty replies, limits, cost ----------------------------------------------------------------


@pytest.mark.parametrize("silence", ["", " ", "\n\t"])
def test_a_blank_reply_is_retried_up_to_a_limit(silence: str) -> None:
    blank = ModelReply(text=silence)
    progress = after(asked(), *[blank] * (MAX_BLANK_REPLIES - 1))
    assert progress.next_step == "reply"
    assert after(progress, ModelReply(text="Here I am.")).text == "Here I am."
    failed = after(progress, blank)
    assert failed.outcome == "failed"
    assert failed.error is not None
    assert str(MAX_BLANK_REPLIES) in failed.error
    assert failed.said == ()


def test_a_turn_that_loops_fails_with_the_name_of_its_limit() -> None:
    agent = AGENT.model_copy(update={"limits": Limits(max_steps_per_turn=3)})
    progress = after(asked(), calling("again"), calling("again", first=2), agent=agent)
    assert progress.next_step == "reply"
    failed = after(progress, calling("again", first=3), agent=agent)
    assert failed.outcome == "failed"
    assert failed.error is not None
    assert "max_steps_per_turn" in failed.error


def test_last_allowed_step_may_answer() -> None:
    agent = AGENT.model_copy(update={"limits": Limits(max_steps_per_turn=1)})
    assert after(asked(), ModelReply(text="Yes."), agent=agent).outcome == "answered"
    assert after(asked(), ModelReply(), agent=agent).outcome == "failed"


def test_every_step_counts_in_usage_and_cost() -> None:
    used = Usage(llm={"test:model": ModelUsage(prompt_tokens=10, total_tokens=10, requests=1)})
    first = calling("to_booking").model_copy(update={"usage": used, "cost": rounded_cost("test:model", Decimal("0.1"))})
    second = ModelReply(text="For when?", usage=used, cost=unpriced_cost("test:other"))
    progress = after(asked(), first, second)
    assert (progress.usage.requests, progress.usage.total_tokens, progress.steps) == (2, 20, 2)
    assert progress.cost.total == Decimal("0.1")
    assert progress.cost.unpriced_models == ("test:other",)


def test_a_failed_turn_keeps_its_cost() -> None:
    used = Usage(llm={"test:model": ModelUsage(total_tokens=10, requests=1)})
    progress = after(asked(), ModelReply(usage=used)).failed("The model is away.")
    assert (progress.outcome, progress.error, progress.usage.total_tokens) == ("failed", "The model is away.", 10)


# --- context and instructions -------------------------------------------------------------------


def test_gathered_context_precedes_initial_context_and_the_agents_defaults() -> None:
    values = template_values(AGENT, {"first_name": "Ann", "city": None, "vip": True}, {"first_name": "Bo", "guests": 4})
    assert values == {"first_name": "Bo", "city": "Rome", "vip": True, "guests": 4}


def test_the_text_of_a_transition_sees_the_gathered_context() -> None:
    progress = asked(checkpoint=Checkpoint(node_id="greet", gathered_context={"first_name": "Bo"}))
    assert after(progress, calling("to_booking")).said == ("One moment, Bo.",)


def test_instructions_are_the_agents_prompt_and_then_the_nodes() -> None:
    values = template_values(AGENT, CONTEXT, {})
    assert instructions_at(AGENT, "greet", values) == (
        "You speak for Osteria Fiorella in Rome.\n\nFind out what Ann wants."
    )
    assert instructions_at(AGENT, "booking", values) == "Ask for the date."
    assert instructions_at(AGENT, "hang_up", values) == "You speak for Osteria Fiorella in Rome."


# --- checkpoints --------------------------------------------------------------------------------


def test_greeting_reaches_the_next_turn_with_its_first_step() -> None:
    progress = asked("A table.", checkpoint=opened().checkpoint())
    assert progress.messages == (AgentSaid(text="Good evening Ann."), UserSaid(text="A table."))
    assert progress.after == ""


def test_the_next_turn_comes_after_the_newest_step_and_carries_only_what_no_step_saved() -> None:
    plain = after(asked(), ModelReply(text="Certainly.")).checkpoint()
    assert (plain.after, plain.carry) == ("t1/0", ())
    greeted = after(asked(), calling("to_booking"), calling("back", first=2)).checkpoint()
    assert greeted.after == "t1/1"
    assert [message.kind for message in greeted.carry] == ["tool_returned", "agent_said"]
    assert (greeted.node_id, greeted.entered) == ("greet", True)


def test_gathered_context_and_node_are_carried_on() -> None:
    checkpoint = Checkpoint(node_id="booking", gathered_context={"guests": 4}, after="t0/0")
    progress = after(asked(checkpoint=checkpoint), ModelReply(text="Noted."))
    assert progress.checkpoint() == checkpoint.model_copy(update={"after": "t1/0"})
