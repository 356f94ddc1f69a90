"""Imported histories: conversations from elsewhere as the first turns of a session."""

from datetime import UTC, datetime

import pytest

from domain.agents.definition import AgentDefinition, InvalidAgent, Limits, Node, parse_definition
from domain.rejections import CommandRejected
from domain.sessions.command_handlers import send
from domain.sessions.commands import SendMessage
from domain.sessions.imported_history import (
    MAX_IMPORTED_CHARACTERS,
    MAX_IMPORTED_EXCHANGES,
    ImportedExchange,
    import_history,
)
from domain.turns.turn import AgentSaid, UserSaid
from domain.usage import Cost, Usage
from tests.support.conversation import rejection_of

AT = datetime(2026, 11, 1, tzinfo=UTC)
AGENT = AgentDefinition(name="booking-line", start="greet", nodes={"greet": Node(prompt="Hi.")}, history="accept")
TABLE = ImportedExchange("A table, please.", "For how many?")
FOUR = ImportedExchange("Four.", "At what time?")


def test_imported_turns_follow_a_greeting_are_marked_and_cost_nothing() -> None:
    timeline = import_history(AGENT, "ses_1", "Welcome!", [TABLE, FOUR], at=AT)
    turns = list(timeline.visible_turns())[::-1]
    assert [turn.user_message and turn.user_message.text for turn in turns] == [None, "A table, please.", "Four."]
    assert [turn.assistant_message and turn.assistant_message.text for turn in turns] == [
        "Welcome!",
        "For how many?",
        "At what time?",
    ]
    assert all(turn.imported and turn.status == "completed" and turn.node_id == "greet" for turn in turns)
    assert all((turn.usage, turn.cost) == (Usage(), Cost()) for turn in turns)
    assert [turn.index for turn in turns] == [0, 1, 2]
    assert timeline.unrecorded.turn_ids == tuple(turn.id for turn in turns)
    assert timeline.taken_over(timeline.unrecorded.turn_ids) == timeline.unrecorded.turn_ids
    assert (timeline.status, timeline.revision) == ("idle", 1)


def test_the_model_sees_the_messages_up_to_any_imported_turn() -> None:
    timeline = import_history(AGENT, "ses_1", None, [TABLE, FOUR], at=AT)
    _, table, four = list(timeline.visible_turns())[::-1]
    said = (UserSaid(text="A table, please."), AgentSaid(text="For how many?"))
    assert table.checkpoint is not None
    assert four.checkpoint is not None
    assert table.checkpoint.carry == said
    assert four.checkpoint.carry == (*said, UserSaid(text="Four."), AgentSaid(text="At what time?"))
    branched = send(timeline, SendMessage(text="Five.", after_turn_id=table.id), turn_id="turn_new", at=AT)
    checkpoint = branched.checkpoint_before(table.id)
    assert checkpoint == table.checkpoint
    assert checkpoint.entered


def test_same_history_gives_the_same_turns_in_one_session_only() -> None:
    one, same, other = (import_history(AGENT, session, None, [TABLE], at=AT) for session in ("ses_1", "ses_1", "ses_2"))
    assert one == same
    assert not set(one.turns) & set(other.turns)


@pytest.mark.parametrize(
    ("agent", "exchanges"),
    [
        (AGENT, [TABLE] * (MAX_IMPORTED_EXCHANGES + 1)),
        (AGENT, [ImportedExchange("x" * MAX_IMPORTED_CHARACTERS, "y")]),
        (AGENT.model_copy(update={"limits": Limits(max_turns=3)}), [TABLE, FOUR]),
    ],
)
def test_history_that_is_too_long_is_rejected(agent: AgentDefinition, exchanges: list[ImportedExchange]) -> None:
    with pytest.raises(CommandRejected) as refused:
        import_history(agent, "ses_1", None, exchanges, at=AT)
    assert rejection_of(refused).code == "too_large"


def test_an_agent_says_whether_it_accepts_histories() -> None:
    plain = {"name": "desk", "start": "desk", "nodes": {"desk": {"prompt": "Hi."}}}
    assert parse_definition(plain).history == "refuse"
    assert parse_definition({**plain, "history": "accept"}).history == "accept"
    with pytest.raises(InvalidAgent) as invalid:
        parse_definition({**plain, "history": "perhaps"})
    assert "history" in str(invalid.value)
