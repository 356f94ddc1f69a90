"""Histories of clients compared with the turns of a session: cut, incomplete, joined or different."""

import pytest

from api.openai.conversations import MAX_LEFT_OUT
from api.openai.conversations import Conversation as ChatConversation
from api.openai.history_matching import Exchange, exchanges_of, find_history
from domain.agents.definition import AgentDefinition, Node
from domain.sessions.seen_digest import Spoken
from domain.sessions.views import view_of
from tests.support.conversation import Conversation

AGENT = AgentDefinition(name="booking-line", start="greet", nodes={"greet": Node(prompt="Hi.")})
HELLO = Exchange(("Hello",), "Good morning.")
TABLE = Exchange(("A table, please.",), "For how many?")
FOUR = Exchange(("Four.",), "At what time?")


@pytest.fixture
def talk() -> Conversation:
    """The greeting t0 and the turns t1, t2 and t3."""
    talk = Conversation().greeted()
    for exchange in (HELLO, TABLE, FOUR):
        talk.exchange(exchange.asked[0], str(exchange.reply))
    return talk


def found(talk: Conversation, *history: Exchange) -> tuple[str, bool] | None:
    """The turn that a history ends with, and whether the history is whole."""
    match = find_history(history, view_of(talk.timeline, AGENT, "run-1"))
    return None if match is None else (match.turn.id, match.is_whole)


def test_messages_and_replies_in_a_row_are_one_exchange_and_a_greeting_is_none() -> None:
    spoken = [
        Spoken("assistant", "Welcome!"),
        Spoken("user", "Is anybody there?"),
        Spoken("user", "Hello"),
        Spoken("assistant", "Good"),
        Spoken("user", " "),
        Spoken("assistant", "morning."),
        Spoken("user", "A table, please."),
    ]
    assert exchanges_of(spoken) == [
        Exchange(("Is anybody there?", "Hello"), "Good morning."),
        Exchange(("A table, please.",), None),
    ]


def test_history_is_found_where_it_ends_and_its_beginning_may_be_missing(talk: Conversation) -> None:
    assert found(talk, HELLO, TABLE, FOUR) == ("t3", True)
    assert found(talk, TABLE, FOUR) == ("t3", False)
    assert found(talk, FOUR) == ("t3", False)
    assert found(talk, HELLO, TABLE) == ("t2", True)
    assert found(talk, HELLO) == ("t1", True)


def test_white_space_does_not_count_and_a_reply_may_be_cut_anywhere(talk: Conversation) -> None:
    assert found(talk, HELLO, Exchange((" A  table,\nplease. ",), "For how many?\n")) == ("t2", True)
    for cut in ("F", "For ho", "For how", "For  how m"):
        assert found(talk, HELLO, Exchange(("A table, please.",), cut)) == ("t2", True)
        assert found(talk, HELLO, Exchange(("A table, please.",), cut), FOUR) == ("t3", True)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param((Exchange(("A table, please.",), "No."), FOUR), id="another reply"),
        pytest.param((Exchange(("Hi",), "Good morning."), TABLE, FOUR), id="another message"),
        pytest.param((FOUR, HELLO, TABLE, FOUR), id="more than was said"),
        pytest.param((HELLO, FOUR), id="an exchange is missing"),
    ],
)
def test_another_conversation_is_not_found(talk: Conversation, history: tuple[Exchange, ...]) -> None:
    assert found(talk, *history) is None


def test_the_newest_of_equal_places_is_found(talk: Conversation) -> None:
    again = talk.exchange("Four.", "At what time?")
    assert found(talk, FOUR) == (again, False)


def test_an_interrupted_reply_matches_any_part_of_it_or_none(talk: Conversation) -> None:
    cut = talk.say("At eight.")
    talk.interrupt("You will g")
    for received in ("You", "You will get it"):
        assert found(talk, FOUR, Exchange(("At eight.",), received)) == (cut, False)
    assert found(talk, FOUR, Exchange(("At eight.",), None)) == (cut, False)
    later = talk.exchange("No, at nine.", "Gladly.")
    assert found(talk, FOUR, Exchange(("At eight.", "No, at nine."), "Gladly.")) == (later, False)
    assert found(talk, FOUR, Exchange(("No, at nine.",), "Gladly.")) == (later, False)


def test_failed_turns_do_not_match_and_their_messages_may_be_joined_with_the_next(talk: Conversation) -> None:
    talk.say("At eight.")
    talk.fail()
    assert found(talk, FOUR, Exchange(("At eight.",), None)) is None
    later = talk.exchange("At eight.\n\nHello?", "Gladly.")
    assert found(talk, FOUR, Exchange(("At eight.", "Hello?"), "Gladly.")) == (later, False)


def test_turns_past_a_rewind_and_of_discarded_branches_are_found_after_the_visible_ones(talk: Conversation) -> None:
    other = talk.edit("t3", "Five.")
    talk.answer("At what time?")
    assert found(talk, HELLO, TABLE, FOUR) == ("t3", True)
    assert found(talk, TABLE, Exchange(("Five.",), "At what time?")) == (other, False)
    talk.rewind("t2")
    assert found(talk, TABLE, Exchange(("Five.",), "At what time?")) == (other, False)
    assert found(talk, TABLE) == ("t2", False)


def test_a_long_row_of_messages_has_few_readings() -> None:
    asked = tuple(Spoken("user", f"Number {number}") for number in range(5_000))
    readings = list(ChatConversation("agt", {}, asked, None).readings)
    assert len(readings) == MAX_LEFT_OUT + 1
    assert readings[0].text == "Number 4999"
    assert (readings[-1].seen, readings[-1].text.count("Number")) == ((), 5_000)
    two = list(ChatConversation("agt", {}, asked[:2], None).readings)
    assert [(len(each.seen), each.text) for each in two] == [(1, "Number 1"), (0, "Number 0\n\nNumber 1")]
