"""Conversations with the demo model: every example agent to its end, and users who digress."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
import yaml
from pydantic_ai.direct import model_request
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from domain.agents.definition import AgentDefinition, Node, parse_definition, warnings_for
from domain.agents.templates import render
from playhead.demo_model.model import DEMO_MARK, demo_model

AGENTS = Path(__file__).parents[3] / "examples" / "agents"


@cache
def example(name: str) -> AgentDefinition:
    return parse_definition(yaml.safe_load((AGENTS / f"{name}.yaml").read_text(encoding="utf-8")))


def tools_of(node: Node) -> ModelRequestParameters:
    return ModelRequestParameters(
        function_tools=[
            ToolDefinition(name=transition.tool_name, description=transition.when) for transition in node.transitions
        ]
    )


@dataclass
class Call:
    """A conversation with an agent, driven the way the engine drives it."""

    agent: AgentDefinition
    model: Model = field(default_factory=demo_model)
    history: list[ModelMessage] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)

    @property
    def node(self) -> Node:
        return self.agent.nodes[self.path[-1]]

    async def begin(self) -> "Call":
        self.path.append(self.agent.start)
        if self.node.greeting is None:
            await self._answer([])
        else:
            self.history.append(ModelResponse(parts=[TextPart(render(self.node.greeting, self.agent.context))]))
        return self

    async def say(self, text: str) -> str:
        await self._answer([UserPromptPart(text)])
        return self.replies[-1]

    async def _answer(self, parts: list[ModelRequestPart]) -> None:
        steps = 0
        while True:
            steps += 1
            assert steps <= self.agent.limits.max_steps_per_turn, f"going in a circle: {self.path}"
            prompt = f"{self.agent.prompt}\n\n{self.node.prompt}".strip()
            self.history.append(ModelRequest(parts=parts, instructions=render(prompt, self.agent.context)))
            response = await model_request(self.model, self.history, model_request_parameters=tools_of(self.node))
            self.history.append(response)
            [part] = response.parts
            if isinstance(part, TextPart):
                self.replies.append(part.content)
                return
            assert isinstance(part, ToolCallPart)
            taken = next(transition for transition in self.node.transitions if transition.tool_name == part.tool_name)
            self.path.append(taken.to)
            result = f"The conversation is now at {taken.to}."
            parts = [ToolReturnPart(part.tool_name, result, part.tool_call_id)]


async def hold(agent: AgentDefinition, *messages: str) -> Call:
    call = await Call(agent).begin()
    for message in messages:
        assert not call.node.end, f"the conversation ended before {message!r}: {call.replies[-1]}"
        await call.say(message)
    return call


# Each conversation: the agent, what the person says, and the nodes it goes through.
CONVERSATIONS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "book step by step": (
        "booking-line",
        (
            "Hi, I'd like to book a table please",
            "Friday",
            "at 8pm",
            "four",
            "Rossi",
            "yes, that's right",
            "no thanks, bye",
        ),
        "greet booking confirm anything_else goodbye",
    ),
    "book in one sentence": (
        "booking-line",
        ("Table for 4 tomorrow at 7:30 pm, my name is Anna Bell", "Perfect", "That's all, thank you"),
        "greet booking confirm anything_else goodbye",
    ),
    "change the party size": (
        "booking-line",
        (
            "Could I reserve a table for two on 12 June at 19:30?",
            "It's Dana",
            "actually make it 6 people",
            "No, the time is wrong",
            "8 pm",
            "yes",
            "nothing else",
        ),
        "greet booking confirm booking confirm booking confirm anything_else goodbye",
    ),
    "ask, then book a large party": (
        "booking-line",
        (
            "Are you open on Mondays?",
            "do you have parking?",
            "yes please",
            "next Saturday",
            "in the evening",
            "12",
            "A birthday",
            "anna@example.com",
            "yes perfect",
            "no that's all",
        ),
        "greet questions booking private_event event_summary anything_else goodbye",
    ),
    "cancel": (
        "booking-line",
        ("I need to cancel my booking", "Rossi", "tomorrow", "yes", "no"),
        "greet cancellation confirm_cancellation anything_else goodbye",
    ),
    "keep the booking after all": (
        "booking-line",
        ("I want to cancel a booking", "It is under Rossi for Friday", "No, I'd rather keep it", "goodbye"),
        "greet cancellation confirm_cancellation anything_else goodbye",
    ),
    "qualify a lead": (
        "lead-qualification",
        (
            "Yes, sure",
            "We use Excel",
            "about 40 people",
            "We want to spend less time on reports",
            "50k",
            "Our CFO decides",
            "Tuesday",
            "3pm",
            "joe@acme.com",
            "yes",
        ),
        "greet discovery qualification schedule confirm goodbye",
    ),
    "a lead with a doubt": (
        "lead-qualification",
        (
            "ok",
            "spreadsheets",
            "Isn't that expensive?",
            "yes, I'd like to see a demo",
            "Monday at 10, ann@b.co",
            "Right",
        ),
        "greet discovery doubts schedule confirm goodbye",
    ),
    "a lead without a budget": (
        "lead-qualification",
        ("sure", "Excel", "20", "faster reports", "we have no budget", "no"),
        "greet discovery qualification self_service goodbye",
    ),
    "a team of one": (
        "lead-qualification",
        ("sure", "we have Tableau", "just me", "yes please", "me@example.org"),
        "greet discovery self_service trial_address goodbye",
    ),
    "call a lead later": (
        "lead-qualification",
        ("I'm busy right now, can you call me later?", "tomorrow", "10 am"),
        "greet callback goodbye",
    ),
    "not interested": ("lead-qualification", ("Not interested, please don't call again",), "greet opt_out"),
    "log in, escalated": (
        "support-desk",
        (
            "I can't log in",
            "no, still the same",
            "no that didn't work either",
            "Anna Bell",
            "anna@example.com",
            "very urgent",
        ),
        "greet login login_second_step escalation handover",
    ),
    "log in, solved": (
        "support-desk",
        ("I forgot my password", "It works now, thank you", "no that's all"),
        "greet login wrap_up goodbye",
    ),
    "files missing, solved": (
        "support-desk",
        ("what plans do you have?", "my files are missing", "windows laptop", "last week", "yes it worked", "goodbye"),
        "greet question sync wrap_up goodbye",
    ),
    "a refund": (
        "support-desk",
        (
            "I was charged twice on my invoice",
            "INV-2231",
            "49 euros",
            "it was charged twice",
            "actually the amount is 59 euros",
            "yes",
            "no thanks",
        ),
        "greet billing billing_summary billing billing_summary wrap_up goodbye",
    ),
    "an upset customer": (
        "support-desk",
        ("This is ridiculous, I want to speak to a manager", "Anna", "anna@example.com", "it can wait"),
        "greet escalation handover",
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_follows_its_path_through_the_example_to_an_end(name: str) -> None:
    agent, messages, path = CONVERSATIONS[name]
    call = await hold(example(agent), *messages)
    assert call.path == path.split(), "\n".join(call.replies)
    assert call.node.end
    assert all(reply.startswith(DEMO_MARK) for reply in call.replies)
    if persona := re.search(r"Osteria Fiorella|Northlight Analytics|Harbour Drive", example(agent).prompt):
        assert persona[0] in call.replies[-1], "it says goodbye in the agent's name"


@pytest.mark.parametrize("agent", sorted(path.stem for path in AGENTS.glob("*.yaml")))
def test_every_node_of_an_example_is_visited_by_a_conversation_here(agent: str) -> None:
    visited = {node for name, _, path in CONVERSATIONS.values() if name == agent for node in path.split()}
    assert visited == set(example(agent).nodes)


@pytest.mark.parametrize("agent", sorted(path.stem for path in AGENTS.glob("*.yaml")))
def test_an_example_is_sound_and_named_like_its_file(agent: str) -> None:
    assert example(agent).name == agent
    assert warnings_for(example(agent)) == ()


async def test_it_asks_for_one_detail_at_a_time_and_repeats_each_answer() -> None:
    call = await hold(example("booking-line"), "a table please")
    assert call.replies[-1] == f"{DEMO_MARK}What date would you like?"
    assert "Friday" in await call.say("Friday")
    assert call.replies[-1].endswith("What time would suit you?")
    assert "8pm" in await call.say("8pm")
    assert "4 people" in await call.say("there will be four of us")


async def test_it_reads_everything_back_before_it_asks_for_a_yes() -> None:
    call = await hold(example("booking-line"), "Table for 4 tomorrow at 7:30 pm, my name is Anna Bell")
    assert all(detail in call.replies[-1] for detail in ("tomorrow", "7:30 pm", "4 people", "Anna Bell"))
    assert call.replies[-1].endswith("Is everything right?")


async def test_a_correction_replaces_a_detail_and_says_so() -> None:
    call = await hold(example("booking-line"), "Table for 4 tomorrow at 7pm, my name is Anna")
    reply = await call.say("actually make it 6 people")
    assert "I have changed that: 6 people" in reply
    assert "4 people" not in reply
    assert call.path[-1] == "confirm"


async def test_a_no_without_a_reason_is_asked_what_to_change() -> None:
    call = await hold(example("booking-line"), "Table for 4 tomorrow at 7pm, my name is Anna", "no, that's wrong")
    assert call.replies[-1] == f"{DEMO_MARK}Of course. What should I change?"
    assert "9pm" in await call.say("the time, 9pm")


async def test_another_booking_does_not_take_over_the_details_of_the_first() -> None:
    call = await hold(example("booking-line"), "Table for 4 tomorrow at 7pm, my name is Anna", "yes")
    assert await call.say("I need another table please") == f"{DEMO_MARK}What date would you like?"


async def test_an_unrelated_question_is_answered_from_the_prompt_and_the_conversation_goes_on() -> None:
    call = await hold(example("booking-line"), "I'd like to book a table", "Are dogs allowed?")
    assert "Dogs are welcome on the terrace." in call.replies[-1]
    assert call.replies[-1].endswith("What date would you like?")
    assert "do not have that information" in await call.say("Who won the cup in 1954?")


async def test_a_negated_wish_is_not_taken_for_a_wish() -> None:
    call = await hold(example("booking-line"), "I don't want to cancel anything, I want to book a table")
    assert call.path[-1] == "booking"


@pytest.mark.parametrize(
    "unclear", ["asdf qwer", "...", "   ", "?", "こんにちは", "🙂", "\x00", "yes no yes no", "{{name}}"]
)
async def test_unclear_words_get_an_answer_and_leave_the_node_as_it_is(unclear: str) -> None:
    call = await hold(example("booking-line"), unclear, unclear)
    assert call.path == ["greet"]
    assert all(len(reply) > len(DEMO_MARK) + 10 for reply in call.replies)


async def test_the_answer_to_an_unclear_message_says_what_the_agent_can_do() -> None:
    call = await hold(example("booking-line"), "asdf qwer")
    assert "did not understand" in call.replies[-1]
    assert "book or reserve a table" in call.replies[-1]


async def test_a_very_long_message_is_answered_briefly() -> None:
    call = await hold(example("booking-line"), "I'd like to book a table " + "and I love pasta " * 20_000)
    assert call.path[-1] == "booking"
    assert len(call.replies[-1]) < 500


@pytest.mark.parametrize("question", ["Are you a robot?", "Am I talking to a real person?", "who is this?"])
async def test_it_says_what_it_is_when_asked(question: str) -> None:
    call = await hold(example("booking-line"), question)
    assert "offline demo model" in call.replies[-1]


async def test_a_question_without_an_answer_is_dropped_after_a_second_try() -> None:
    call = await hold(example("booking-line"), "book a table", "whenever it suits", "any, really")
    assert call.replies[-1].endswith("What time would suit you?")


async def test_it_opens_a_conversation_that_has_no_greeting() -> None:
    agent = parse_definition(
        {
            "name": "front-desk",
            "prompt": "You speak for Hotel Aurora.",
            "start": "desk",
            "nodes": {"desk": {"prompt": "Ask for the name and the room number."}},
        }
    )
    call = await Call(agent).begin()
    assert call.replies == [f"{DEMO_MARK}Hello, this is Hotel Aurora. What name may I note?"]


async def test_it_plays_an_agent_it_has_never_seen() -> None:
    agent = parse_definition(
        {
            "name": "dentist",
            "prompt": "You are the receptionist of Dr. Weiss. The practice is open on weekdays.",
            "start": "desk",
            "nodes": {
                "desk": {
                    "prompt": "Collect:\n- the patient's name\n- what hurts\n- a phone number\n\nBe kind.",
                    "transitions": [{"name": "done", "when": "everything has been collected", "to": "bye"}],
                },
                "bye": {"prompt": "Tell the patient that we call back today.", "end": True},
            },
        }
    )
    call = await hold(agent, "Tom Jones", "a molar on the left", "+49 170 1234567")
    assert call.path == ["desk", "bye"]
    assert "We call back today." in call.replies[-1]


async def test_a_node_without_any_prompt_to_read_still_converses() -> None:
    agent = parse_definition({"name": "plain", "start": "a", "nodes": {"a": {"prompt": "Help."}}})
    call = await hold(agent, "hello", "what is the time?", "bye")
    assert len(set(call.replies)) > 1


async def test_nodes_that_point_at_each_other_do_not_spin() -> None:
    known = {"prompt": "Ask for the date.", "transitions": [{"name": "go", "when": "the date is known", "to": "b"}]}
    back = {"prompt": "Ask for the date.", "transitions": [{"name": "go", "when": "the date is known", "to": "a"}]}
    call = await hold(parse_definition({"name": "loop", "start": "a", "nodes": {"a": known, "b": back}}), "Friday")
    assert call.replies[-1].startswith(DEMO_MARK)


async def test_no_two_transitions_of_a_conversation_share_a_call_id() -> None:
    agent, messages, _ = CONVERSATIONS["change the party size"]
    call = await hold(example(agent), *messages)
    ids = [part.tool_call_id for message in call.history for part in message.parts if isinstance(part, ToolCallPart)]
    assert len(ids) == len(set(ids)) > 5
