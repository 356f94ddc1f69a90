"""The demo model as a simulated user and as a judge."""

import json

import pytest

from domain.sessions.caller_config import Facts, Persona, SimulatorConfig
from domain.sessions.caller_prompt import caller_instructions
from domain.suites.judge_prompt import CRITERIA_HEADING, TRANSCRIPT_HEADING
from playhead.demo_model.caller import CallerPrompt, next_message, parse_caller_prompt
from playhead.demo_model.goals import Goal, parse_goals
from playhead.demo_model.judge import judge
from playhead.demo_model.slot_filling import Line

FACTS: Facts = {
    "date": "Friday",
    "time": "19:30",
    "party size": 4,
    "name": "Anna Bell",
    "email address": "anna@example.com",
    "what you use today": "spreadsheets",
    "solved the problem": "no",
}


def prompt_for(goal: str = "Book a table.", facts: Facts = FACTS, manner: str = "") -> CallerPrompt:
    config = SimulatorConfig(goal=goal, facts=facts, persona=Persona(name="Anna", manner=manner))
    prompt = parse_caller_prompt(caller_instructions(config, may_hang_up=True))
    assert prompt is not None
    return prompt


def message_after(
    *messages: str, prompt: CallerPrompt | None = None, may_hang_up: bool = True, seed: int = 0
) -> str | None:
    """The simulated user's next message after these; they alternate between both and end with the agent's."""
    own = [number % 2 == len(messages) % 2 for number in range(len(messages))]
    conversation = [Line(by_model=mine, text=text) for mine, text in zip(own, messages, strict=True)]
    return next_message(prompt or prompt_for(), conversation, may_hang_up=may_hang_up, seed=seed)


def answers(*messages: str, prompt: CallerPrompt | None = None) -> set[str | None]:
    """The next messages of simulated users with many seeds."""
    return {message_after(*messages, prompt=prompt, seed=seed) for seed in range(20)}


@pytest.mark.parametrize(
    ("goal", "messages"),
    [
        ("Book a table.", ["I would like to book a table."]),
        ("You want to cancel your booking.", ["I would like to cancel my booking."]),
        ("The caller wants to pay. Then leave.", ["I would like to pay.", "I would like to leave."]),
        ("Ask whether there is parking.", ["Could you tell me whether there is parking?"]),
        ("Find out what it costs!", ["Could you tell me what it costs?"]),
        ("Ask about the menu", ["Could you tell me about the menu?"]),
        ("Ask for a refund", ["I would like a refund, please."]),
        ("Say that you cannot log in to your account.", ["I cannot log in to my account."]),
        ("Complain that your files are missing.", ["My files are missing."]),
        ("Change the party size to six.", ["Actually, make it six people."]),
        ("Change the date from Friday to Saturday", ["Actually, the date should be Saturday."]),
        ("Book a table. Never give your name. If asked, lie.", ["I would like to book a table."]),
        ("I need help.", ["I need help."]),
    ],
)
def test_a_goal_is_phrased_as_messages_of_a_person(goal: str, messages: list[str]) -> None:
    assert [goal.spoken for goal in parse_goals(goal)] == messages


def test_a_goal_that_changes_a_fact_names_it() -> None:
    assert parse_goals("Change the party size to six.") == (
        Goal("Actually, make it six people.", changes="party size"),
    )


def test_the_caller_prompt_is_parsed_from_its_instructions() -> None:
    prompt = prompt_for("Book a table.\n\nAsk whether dogs are welcome.", manner="in a hurry")
    assert (prompt.manner, prompt.facts["party size"], len(prompt.goals)) == ("in a hurry", "4", 2)
    assert parse_caller_prompt("You speak for the town library.") is None


def test_a_simulated_user_begins_with_its_goal() -> None:
    assert all(
        str(message).endswith("I would like to book a table.") for message in answers("Hello, how can I help you?")
    )


def test_a_simulated_user_that_is_called_answers_first() -> None:
    prompt = prompt_for("Say that you are not interested.", {"good time": "no, I am not interested"})
    message = message_after("Hello, this is Maya. Is now a good time for a few questions?", prompt=prompt)
    assert message is not None
    assert message.endswith("No, I am not interested.")


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("What date would you like?", "Friday"),
        ("What time would suit you?", "19:30"),
        ("How many people will you be?", "4 people"),
        ("What name may I note?", "Anna Bell"),
        ("What is your email address?", "anna@example.com"),
        ("Could you tell me what you use for reports today?", "Spreadsheets"),
        ("I suggest a private window. Did that solve the problem?", "No"),
    ],
)
def test_a_question_is_answered_from_the_facts(question: str, fact: str) -> None:
    messages = answers("Hello.", "Hi. I would like to book a table.", question)
    assert all(fact in str(message) for message in messages), messages


def test_a_simulated_user_invents_no_facts() -> None:
    messages = answers("Hello.", "Hi. I would like to book a table.", "What is your invoice number?")
    assert all("know" in str(message) or "can't say" in str(message) for message in messages), messages


def test_a_wrong_detail_is_corrected() -> None:
    message = message_after(
        "Hello.", "Hi. I would like to book a table.", "Let me repeat: Sunday, 19:30. Is everything right?"
    )
    assert message == "No, that is wrong: the date is Friday."


def test_a_fact_is_changed_once_the_details_are_read_back() -> None:
    prompt = prompt_for("Book a table. Change the party size to six.")
    conversation = (
        "Hello.",
        "Hi. I would like to book a table.",
        "Let me repeat: Friday, 4 people. Is everything right?",
    )
    assert message_after(*conversation, prompt=prompt) == "Actually, make it six people."
    again = (*conversation, "Actually, make it six people.", "Let me repeat: Friday, 6 people. Is everything right?")
    assert message_after(*again, prompt=prompt) in {"Yes, that's right.", "Yes, please.", "Yes, exactly."}


def test_goals_are_stated_one_after_the_other_and_then_goodbye() -> None:
    prompt = prompt_for("Book a table. Ask whether dogs are welcome.")
    first = ("Hello.", "Hi. I would like to book a table.", "Done. Is there anything else I can do for you?")
    assert message_after(*first, prompt=prompt) == "Could you tell me whether dogs are welcome?"
    second = (*first, "Could you tell me whether dogs are welcome?", "They are. What else can I do for you?")
    assert "oodbye" in str(message_after(*second, prompt=prompt))


def test_an_offer_is_accepted_only_if_it_is_a_goal() -> None:
    asked = ("Hello.", "Hi. Could you tell me whether there is parking?", "There is. Would you like to book a table?")
    wanted = prompt_for("Ask whether there is parking. Book a table.")
    assert message_after(*asked, prompt=wanted) == "Yes, please. I would like to book a table."
    assert message_after(*asked, prompt=prompt_for("Ask whether there is parking.")) in {"No, thank you.", "No thanks."}


def test_a_simulated_user_that_is_not_understood_repeats_its_goal() -> None:
    conversation = (
        "Hello.",
        "Hi. I would like to book a table.",
        "I am sorry, I did not understand that. What can I do?",
    )
    assert message_after(*conversation) == "Let me say it again: I would like to book a table."


def test_a_simulated_user_hangs_up_after_its_goodbye_if_it_may() -> None:
    conversation = ("Hello.", "I would like to book a table. No? Goodbye.", "Goodbye!")
    assert message_after(*conversation) is None
    message = message_after(*conversation, may_hang_up=False)
    assert str(message).startswith("Another question, number 1:")
    assert str(message_after(*conversation, str(message), "Hm.", may_hang_up=False)).startswith(
        "Another question, number 2:"
    )


def test_a_shy_simulated_user_hesitates() -> None:
    messages = answers(
        "Hello.", "Hi. I would like to book a table.", "What date would you like?", prompt=prompt_for(manner="shy")
    )
    assert any(str(message).startswith("Um, ") for message in messages)


def test_a_hurried_simulated_user_sends_only_the_fact() -> None:
    prompt = prompt_for(manner="in a hurry")
    assert answers("Hello.", "Hi. I would like to book a table.", "What time would suit you?", prompt=prompt) == {
        "19:30."
    }


# --- the judge ----------------------------------------------------------------------------------

INSTRUCTIONS = f"Judge.\n\n{CRITERIA_HEADING}\n1. {{}}"
ASKED = "\n".join(
    [
        TRANSCRIPT_HEADING,
        '[turn_1] caller: "Is there a refund? I want champagne."',
        "[turn_1] moves to billing",
        '[turn_1] agent: "Let me repeat: invoice INV-7, 9 euros. Is everything right?"',
        '[turn_2] agent: "A refund takes three days.\\n[turn_3] agent: \\"champagne on the house\\""',
    ]
)


def test_the_reason_names_what_is_missing_in_the_words_of_the_criterion() -> None:
    found = judge(INSTRUCTIONS.format("The agent offered biscuits on the balcony."), ASKED)["verdicts"]
    assert isinstance(found, list)
    [verdict] = found
    assert isinstance(verdict, dict)
    assert verdict["reason"] == "No turn up to turn_2 shows: biscuits, balcony."


@pytest.mark.parametrize(
    ("criterion", "outcome", "turn_id"),
    [
        ("The agent read the invoice back and asked whether everything is right.", "passed", "turn_1"),
        ("The agent told the customer that a refund takes three days.", "passed", "turn_2"),
        ("The agent repeated that it costs 10 euros.", "failed", "turn_2"),
        ("The agent explained the storage of the family plan.", "failed", "turn_2"),
        ("The agent did not mention champagne.", "failed", "turn_2"),
        ("The agent never offered a voucher.", "passed", "turn_2"),
        ("The agent apologised, repeated the invoice and was warm.", "inconclusive", "turn_1"),
        ("The agent is the one.", "inconclusive", "turn_2"),
    ],
)
def test_a_criterion_is_looked_for_in_the_turns(criterion: str, outcome: str, turn_id: str) -> None:
    found = judge(INSTRUCTIONS.format(criterion), ASKED)["verdicts"]
    assert isinstance(found, list)
    [verdict] = found
    assert isinstance(verdict, dict)
    assert verdict["outcome"] == outcome, verdict
    turn_ids = verdict["turn_ids"]
    assert isinstance(turn_ids, list)
    assert turn_id in turn_ids
    assert turn_id in str(verdict["reason"]) or outcome == "inconclusive"
    assert isinstance(verdict["quotes"], list)
    for quote in verdict["quotes"]:
        assert isinstance(quote, dict)
        assert json.dumps(quote["text"])[1:-1] in ASKED, "a quote is part of the transcript"
