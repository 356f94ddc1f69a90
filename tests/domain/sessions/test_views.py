"""Views of a session: as of the newest visible turn, bounded, and with the total cost."""

from decimal import Decimal

import pytest
from pydantic import JsonValue

from domain.agents.definition import AgentDefinition, Limits, Node
from domain.sessions.turn_completion import complete
from domain.sessions.views import (
    MAX_BRANCH_TURNS,
    MAX_BRANCHES,
    MAX_VISIBLE_TURNS,
    TimelineView,
    head_of,
    recorded_head_of,
    view_of,
)
from tests.support.conversation import Conversation, answered

AGENT = AgentDefinition(name="booking-line", start="greet", nodes={"greet": Node(prompt="Hi."), "booking": Node()})


@pytest.fixture
def talk() -> Conversation:
    return Conversation(Limits(max_turns=100_000)).greeted()


def move(talk: Conversation, text: str, node_id: str, **gathered: JsonValue) -> str:
    """Add an exchange that leads to a node and gathers variables; returns the id of its turn."""
    turn_id = talk.say(text)
    progress = answered(turn_id, "Sure.", node_id=node_id).model_copy(update={"gathered_context": gathered})
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    return turn_id


def test_a_session_without_turns_is_at_its_start_node() -> None:
    talk = Conversation()
    view = view_of(talk.timeline, AGENT, "run-1")
    assert (view.head.current_node_id, view.head.gathered_context, view.head.head_turn_id) == ("greet", {}, None)
    assert (view.turns, view.discarded_branches, view.head.turns_before) == ((), (), 0)
    assert (view.head.run_id, view.head.status) == ("run-1", "idle")


def test_head_names_one_state_and_its_newest_turn(talk: Conversation) -> None:
    turn_id = move(talk, "A table.", "booking", guests=2)
    head = head_of(talk.timeline, AGENT, "run-1")
    assert (head.head_turn_id, head.cursor_turn_id, head.current_node_id) == (turn_id, None, "booking")
    assert (head.version, head.revision) == (talk.timeline.version, 4)
    assert head.gathered_context == {"guests": 2}
    assert (head.created_at, head.updated_at) == (talk.timeline.created_at, talk.now)


def test_a_rewound_session_shows_node_and_context_at_the_cursor_and_the_whole_cost(talk: Conversation) -> None:
    first = move(talk, "A table.", "booking", guests=2)
    move(talk, "For three.", "booking", guests=3)
    talk.rewind(first)
    head = head_of(talk.timeline, AGENT, "run-1")
    assert (head.status, head.cursor_turn_id, head.gathered_context) == ("rewound", first, {"guests": 2})
    assert (head.usage.total_tokens, head.cost.total) == (30, Decimal("0.03"))
    talk.rewind("t0", before=True)
    head = head_of(talk.timeline, AGENT, "run-1")
    assert (head.status, head.cursor_turn_id, head.current_node_id) == ("rewound", None, "greet")
    assert (head.gathered_context, head.head_turn_id) == ({}, None)


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_turn_without_a_checkpoint_leaves_the_session_where_it_was(talk: Conversation, status: str) -> None:
    move(talk, "A table.", "booking", guests=2)
    talk.say("For three.")
    if status == "failed":
        talk.fail()
    head = head_of(talk.timeline, AGENT, "run-1")
    assert (head.current_node_id, head.gathered_context) == ("booking", {"guests": 2})


def test_duration_is_the_wall_clock_of_the_session_until_it_ended(talk: Conversation) -> None:
    pending = talk.say("A table.")
    assert head_of(talk.timeline, AGENT, "run-1").usage.duration_seconds == 3.0
    talk.end()
    talk.interrupt(turn_id=pending)
    head = head_of(talk.timeline, AGENT, "run-1")
    assert (head.usage.duration_seconds, head.is_completed, head.completion_reason) == (4.0, True, "user_hangup")


def test_the_view_shows_the_visible_branch_oldest_first_and_discarded_branches(talk: Conversation) -> None:
    gone = [talk.exchange("One."), talk.exchange("Two.")]
    talk.rewind("t0")
    kept = talk.exchange("Another one.")
    view = view_of(talk.timeline, AGENT, "run-1")
    assert [turn.id for turn in view.turns] == ["t0", kept]
    (branch,) = view.discarded_branches
    assert [turn.id for turn in branch.turns] == gone
    assert (branch.rewound_from_turn_id, branch.leaf_turn_id) == ("t0", gone[-1])


def test_view_of_a_rewound_session_has_its_future_until_the_next_message(talk: Conversation) -> None:
    past, future = talk.exchange("One."), [talk.exchange("Two."), talk.exchange("Three.")]
    assert view_of(talk.timeline, AGENT, "run-1").future == ()
    talk.rewind(past)
    rewound = view_of(talk.timeline, AGENT, "run-1")
    assert [turn.id for turn in rewound.turns] == ["t0", past]
    assert [turn.id for turn in rewound.future] == future
    assert (rewound.head.head_turn_id, rewound.head.leaf_turn_id) == (past, future[-1])
    talk.rewind("t0", before=True)
    assert [turn.id for turn in view_of(talk.timeline, AGENT, "run-1").future] == ["t0", past, *future]
    talk.rewind(past)
    talk.say("Another two.")
    moved = view_of(talk.timeline, AGENT, "run-1")
    assert moved.future == ()
    assert [turn.id for turn in moved.discarded_branches[0].turns] == future


def test_head_and_leaf_of_the_recorded_head_are_closed_turns(talk: Conversation) -> None:
    past = talk.exchange("One.")
    closed = talk.exchange("Two.")
    talk.say("Three?")
    pending = recorded_head_of(talk.timeline, AGENT, "run-1")
    assert (pending.head_turn_id, pending.leaf_turn_id) == (closed, closed)
    talk.rewind(past)
    rewound = recorded_head_of(talk.timeline, AGENT, "run-1")
    assert (rewound.head_turn_id, rewound.leaf_turn_id) == (past, closed)


def test_long_session_shows_its_newest_turns_and_says_how_many_came_before(talk: Conversation) -> None:
    for number in range(MAX_VISIBLE_TURNS):
        talk.exchange(f"Message {number}.")
    view = view_of(talk.timeline, AGENT, "run-1")
    assert (len(view.turns), view.head.turns_before) == (MAX_VISIBLE_TURNS, 1)
    assert view.turns[0].index == 1
    assert view.turns[-1].id == view.head.head_turn_id
    talk.rewind("t1")
    rewound = view_of(talk.timeline, AGENT, "run-1")
    assert (len(rewound.turns), rewound.head.turns_before) == (2, 0)


def test_many_and_long_branches_are_cut_to_the_newest(talk: Conversation) -> None:
    long_branch = [talk.exchange(f"Message {number}.") for number in range(MAX_BRANCH_TURNS + 1)]
    for number in range(MAX_BRANCHES):
        talk.rewind("t0")
        talk.exchange(f"Start {number}.")
    view = view_of(talk.timeline, AGENT, "run-1")
    assert len(view.discarded_branches) == MAX_BRANCHES
    assert [turn.id for turn in view.discarded_branches[0].turns] == long_branch[1:]
    talk.rewind("t0")
    talk.exchange("One more.")
    newer = view_of(talk.timeline, AGENT, "run-1")
    assert newer.discarded_branches[:-1] == view.discarded_branches[1:]


def test_view_survives_as_json(talk: Conversation) -> None:
    talk.exchange("One.")
    talk.rewind("t0")
    talk.exchange("Another one.")
    view = view_of(talk.timeline, AGENT, "run-1")
    assert TimelineView.model_validate_json(view.model_dump_json()) == view
