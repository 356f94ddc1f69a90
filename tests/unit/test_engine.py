"""How a turn is answered: greetings, transitions, unknown tools, silence, limits, and what the model reads."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from domain.agent import AgentDefinition, Limits, Node, Transition
from domain.engine import (
    MAX_BLANK_REPLIES,
    ModelReply,
    ToolCall,
    TurnProgress,
    advance,
    begin,
    instructions_at,
    start_checkpoint,
    variables,
)
from domain.turns import AgentSaid, Checkpoint, Message, ToolReturned, TurnEvent, UserSaid
from domain.usage import ModelUsage, Usage, priced, unpriced

AT = datetime(2026, 1, 1, tzinfo=UTC)
CONTEXT: dict[str, JsonValue] = {"first_name": "Ann", "city": None}

AGENT = AgentDefinition(
    name="booking-line",
    prompt="You speak for Osteria Fiorella in {{city}}.",
    start="greet",
    context={"first_name": "guest", "city": "Rome"},
    nodes={
        "greet": Node(
            prompt="Find out what {{first_name}} wants.",
            greeting="Good evening {{first_name}}.",
            transitions=(
                Transition(name="to booking", when="a table", to="booking", say="One moment, {{first_name}}."),
                Transition(name="bye", when="done", to="goodbye"),
                Transition(name="Again", when="something else", to="greet", say="Sure."),
                Transition(name="hang_up", when="rude", to="hang_up"),
            ),
        ),
        "booking": Node(
            prompt="Ask for the date.",
            use_global_prompt=False,
            transitions=(
                Transition(name="bye", when="done", to="goodbye"),
                Transition(name="back", when="wrong", to="greet", say="Back to the start."),
            ),
        ),
        "goodbye": Node(prompt="Say goodbye.", end=True),
        "hang_up": Node(greeting="I am ending this call.", end=True),
    },
)


def asked(text: str = "A table, please.", checkpoint: Checkpoint | None = None, turn_id: str = "t1") -> TurnProgress:
    """A turn with a user message, before its first step."""
    at_greet = Checkpoint(node_id="greet", anchor_turn_id="t0")
    return begin(AGENT, checkpoint or at_greet, turn_id=turn_id, user_text=text, at=AT, initial_context=CONTEXT)


def opened(agent: AgentDefinition = AGENT) -> TurnProgress:
    """The turn that opens a conversation."""
    checkpoint = start_checkpoint(agent)
    return begin(agent, checkpoint, turn_id="t0", user_text=None, at=AT, initial_context=CONTEXT)


def calling(*names: str, text: str = "", first: int = 1) -> ModelReply:
    calls = tuple(ToolCall(id=f"c{number}", name=name) for number, name in enumerate(names, start=first))
    return ModelReply(text=text, tool_calls=calls)


def after(progress: TurnProgress, *replies: ModelReply, agent: AgentDefinition = AGENT) -> TurnProgress:
    for reply in replies:
        assert progress.due == "reply", f"the turn was over ({progress.outcome}) before all replies were used"
        progress = advance(agent, progress, reply, at=AT, initial_context=CONTEXT)
    return progress


def moves(progress: TurnProgress) -> list[tuple[JsonValue, JsonValue]]:
    return [
        (event.payload["from_node"], event.payload["to_node"])
        for event in progress.events
        if event.type == "node_transition"
    ]


# --- opening ------------------------------------------------------------------------------------


def test_greeting_is_said_without_a_model_call() -> None:
    progress = opened()
    assert (progress.outcome, progress.text, progress.steps) == ("answered", "Good evening Ann.", 0)
    assert progress.messages == (AgentSaid(text="Good evening Ann."),)
    assert moves(progress) == [(None, "greet")]


@pytest.mark.parametrize("greeting", [None, "", "  \n", "{{nobody}}"])
def test_opening_without_a_spoken_greeting_is_left_to_the_model(greeting: str | None) -> None:
    silent = AGENT.model_copy(update={"nodes": {**AGENT.nodes, "greet": Node(prompt="Hi.", greeting=greeting)}})
    progress = opened(silent)
    assert progress.due == "reply"
    assert progress.messages == ()
    progress = after(progress, ModelReply(text="Hello!"), agent=silent)
    assert (progress.outcome, progress.text, progress.steps) == ("answered", "Hello!", 1)


def test_person_who_speaks_before_the_greeting_enters_the_start_node_and_is_answered() -> None:
    progress = asked(checkpoint=start_checkpoint(AGENT))
    assert progress.due == "reply"
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


def test_transition_moves_the_node_speaks_and_lets_the_model_go_on_there() -> None:
    progress = after(asked(), calling("to_booking"))
    assert progress.due == "reply"
    assert (progress.node_id, progress.said) == ("booking", ("One moment, Ann.",))
    (returned,) = progress.messages
    assert isinstance(returned, ToolReturned)
    assert (returned.call_id, returned.name) == ("c1", "to_booking")
    assert "booking" in returned.content
    assert "One moment, Ann." in returned.content
    assert progress.events == (
        TurnEvent(
            type="node_transition",
            created_at=AT,
            payload={"from_node": "greet", "to_node": "booking", "transition": "to booking"},
        ),
    )


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
    assert progress.text == "Let me see.\nOne moment, Ann.\nFor when?"


def test_transition_without_speech_says_nothing() -> None:
    assert after(asked(), calling("bye")).said == ()


def test_self_transition_speaks_but_does_not_greet_again() -> None:
    progress = after(asked(), calling("again"))
    assert progress.due == "reply"
    assert (progress.node_id, progress.said) == ("greet", ("Sure.",))
    assert moves(progress) == [("greet", "greet")]


def test_second_transition_in_one_reply_is_answered_and_ignored() -> None:
    progress = after(asked(), calling("to_booking", "bye"))
    assert progress.node_id == "booking"
    assert moves(progress) == [("greet", "booking")]
    first, second = progress.messages
    assert isinstance(first, ToolReturned)
    assert isinstance(second, ToolReturned)
    assert second.call_id == "c2"
    assert "booking" in second.content


def test_reply_on_an_end_node_ends_the_session() -> None:
    progress = after(asked(), calling("bye"), ModelReply(text="Goodbye."))
    assert (progress.outcome, progress.node_id, progress.text) == ("ended", "goodbye", "Goodbye.")


def test_end_node_with_a_greeting_ends_the_session_without_another_model_call() -> None:
    progress = after(asked(), calling("hang_up"))
    assert (progress.outcome, progress.text, progress.steps) == ("ended", "I am ending this call.", 1)


# --- tools that do not exist --------------------------------------------------------------------


def test_unknown_tool_is_answered_with_those_that_exist() -> None:
    progress = after(asked(), calling("book_flight"))
    assert progress.due == "reply"
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


# --- silence, limits and money ------------------------------------------------------------------


@pytest.mark.parametrize("silence", ["", " ", "\n\t"])
def test_model_that_says_nothing_is_asked_again_up_to_a_limit(silence: str) -> None:
    blank = ModelReply(text=silence)
    progress = after(asked(), *[blank] * (MAX_BLANK_REPLIES - 1))
    assert progress.due == "reply"
    assert after(progress, ModelReply(text="Here I am.")).text == "Here I am."
    failed = after(progress, blank)
    assert failed.outcome == "failed"
    assert failed.error is not None
    assert str(MAX_BLANK_REPLIES) in failed.error
    assert failed.said == ()


def test_model_that_goes_in_circles_is_stopped_and_told_where_to_look() -> None:
    agent = AGENT.model_copy(update={"limits": Limits(max_steps_per_turn=3)})
    progress = after(asked(), calling("again"), calling("again", first=2), agent=agent)
    assert progress.due == "reply"
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
    first = calling("to_booking").model_copy(update={"usage": used, "cost": priced("test:model", Decimal("0.1"))})
    second = ModelReply(text="For when?", usage=used, cost=unpriced("test:other"))
    progress = after(asked(), first, second)
    assert (progress.usage.requests, progress.usage.total_tokens, progress.steps) == (2, 20, 2)
    assert progress.cost.total == Decimal("0.1")
    assert progress.cost.unpriced_models == ("test:other",)


def test_failed_turn_keeps_what_it_spent() -> None:
    used = Usage(llm={"test:model": ModelUsage(total_tokens=10, requests=1)})
    progress = after(asked(), ModelReply(usage=used)).failed("The model is away.")
    assert (progress.outcome, progress.error, progress.usage.total_tokens) == ("failed", "The model is away.", 10)


# --- context and instructions -------------------------------------------------------------------


def test_what_was_gathered_goes_before_what_the_session_began_with_and_the_agents_defaults() -> None:
    values = variables(AGENT, {"first_name": "Ann", "city": None, "vip": True}, {"first_name": "Bo", "guests": 4})
    assert values == {"first_name": "Bo", "city": "Rome", "vip": True, "guests": 4}


def test_speech_sees_what_was_gathered() -> None:
    progress = asked(checkpoint=Checkpoint(node_id="greet", gathered_context={"first_name": "Bo"}))
    assert after(progress, calling("to_booking")).said == ("One moment, Bo.",)


def test_instructions_are_the_agents_prompt_and_then_the_nodes() -> None:
    values = variables(AGENT, CONTEXT, {})
    assert instructions_at(AGENT, "greet", values) == (
        "You speak for Osteria Fiorella in Rome.\n\nFind out what Ann wants."
    )
    assert instructions_at(AGENT, "booking", values) == "Ask for the date."
    assert instructions_at(AGENT, "hang_up", values) == "You speak for Osteria Fiorella in Rome."


# --- what the next turn continues from ----------------------------------------------------------


def test_greeting_reaches_the_next_turn_with_its_first_step() -> None:
    progress = asked("A table.", checkpoint=opened().checkpoint())
    assert progress.messages == (AgentSaid(text="Good evening Ann."), UserSaid(text="A table."))
    assert progress.anchor_turn_id is None


def test_turn_with_steps_becomes_the_anchor_and_carries_only_what_no_step_saved() -> None:
    plain = after(asked(), ModelReply(text="Certainly.")).checkpoint()
    assert (plain.anchor_turn_id, plain.carry) == ("t1", ())
    greeted = after(asked(), calling("to_booking"), calling("back", first=2)).checkpoint()
    assert greeted.anchor_turn_id == "t1"
    assert [message.kind for message in greeted.carry] == ["tool_returned", "agent_said"]
    assert (greeted.node_id, greeted.entered) == ("greet", True)


def test_gathered_context_and_node_are_carried_on() -> None:
    checkpoint = Checkpoint(node_id="booking", gathered_context={"guests": 4}, anchor_turn_id="t0")
    progress = after(asked(checkpoint=checkpoint), ModelReply(text="Noted."))
    assert progress.checkpoint() == checkpoint.model_copy(update={"anchor_turn_id": "t1"})


@dataclass
class SavedSteps:
    """Steps as the store keeps them: by turn, each with its request, its reply and its turn's anchor."""

    of: dict[str, list[tuple[tuple[Message, ...], ModelReply]]] = field(default_factory=dict)
    anchors: dict[str, str | None] = field(default_factory=dict)

    def save(self, progress: TurnProgress, reply: ModelReply) -> None:
        self.of.setdefault(progress.turn_id, []).append((progress.messages, reply))
        self.anchors[progress.turn_id] = progress.anchor_turn_id

    def read_by_the_model(self, progress: TurnProgress) -> list[Message | ModelReply]:
        """Everything a model call of this turn reads, oldest first."""
        chain: list[str] = []
        turn_id = progress.anchor_turn_id
        while turn_id is not None:
            chain.append(turn_id)
            turn_id = self.anchors[turn_id]
        read: list[Message | ModelReply] = []
        for saved in [*chain[::-1], progress.turn_id]:
            for messages, reply in self.of.get(saved, []):
                read += [*messages, reply]
        return [*read, *progress.messages]


def assert_providers_would_take(read: list[Message | ModelReply]) -> None:
    """Every tool call is answered, once, before the model or the person speaks again."""
    unanswered: list[str] = []
    for each in read:
        if isinstance(each, ToolReturned):
            assert each.call_id in unanswered, f"a return without its call: {each}"
            unanswered.remove(each.call_id)
        else:
            assert not unanswered, f"calls {unanswered} were never answered"
            unanswered = [call.id for call in each.tool_calls] if isinstance(each, ModelReply) else []
    assert not unanswered


TOOLS = sorted({each.tool_name for node in AGENT.nodes.values() for each in node.transitions} | {"unknown"})
REPLIES = st.tuples(
    st.sampled_from(["", "", "Certainly.", "One moment."]), st.lists(st.sampled_from(TOOLS), max_size=3)
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(turns=st.lists(st.tuples(st.integers(0, 8), st.lists(REPLIES, max_size=12)), max_size=8))
def test_model_reads_every_word_of_its_branch_once_and_no_unanswered_tool_call(
    turns: list[tuple[int, list[tuple[str, list[str]]]]],
) -> None:
    """Turns go on from any earlier one, fail or are cut short in the middle; each reply calls tools of its own."""
    steps = SavedSteps()
    words: list[list[str]] = [["Good evening Ann."]]
    checkpoints = [opened().checkpoint()]
    calls = 0
    for number, (pick, replies) in enumerate(turns, start=1):
        place = pick % len(checkpoints)
        progress = asked(f"message {number}", checkpoint=checkpoints[place], turn_id=f"t{number}")
        heard = [*words[place], f"message {number}"]
        for text, names in replies:
            if progress.due != "reply":
                break
            read = steps.read_by_the_model(progress)
            assert_providers_would_take(read)
            spoken = Counter(each.text for each in read if isinstance(each, UserSaid | AgentSaid))
            assert spoken == Counter(heard)
            reply = calling(*names, text=text, first=calls)
            calls += len(names)
            steps.save(progress, reply)
            progress = after(progress, reply)
        if progress.outcome in ("answered", "ended"):
            checkpoints.append(progress.checkpoint())
            heard += [message.text for message in progress.messages if isinstance(message, AgentSaid)]
            words.append(heard)
