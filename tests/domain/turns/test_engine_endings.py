"""Built-in tools that end a session: the end, the text that is said, and what a fork continues from."""

import pytest

from domain.agents.definition import AgentDefinition, Extraction, Node, Transition
from domain.agents.tools import BuiltinTool
from domain.turns.engine import ToolResult, TurnProgress, apply_tool_result
from domain.turns.turn import Checkpoint, ToolReturned
from tests.domain.turns.answering import AT, after, asked, calling

DESK = AgentDefinition(
    name="desk",
    start="desk",
    context={"who": "Ann"},
    nodes={
        "desk": Node(
            prompt="Help.",
            tools=("hang_up", "to_a_person", "sum"),
            extract=(Extraction(name="topic"),),
            transitions=(Transition(name="more", when="more", to="more", say="One moment."),),
        ),
        "more": Node(prompt="Help more.", tools=("sum",)),
    },
    tools={
        "hang_up": BuiltinTool(kind="builtin", action="end_session", say="Goodbye, {{who}}."),
        "to_a_person": BuiltinTool(kind="builtin", action="hand_over", to="+39055"),
        "sum": BuiltinTool(kind="builtin", action="calculate"),
    },
)
DONE = ToolResult(content="The session ends.")
FAILED = ToolResult(content="Not allowed.", error="denied")


def replied(*names: str, text: str = "") -> TurnProgress:
    progress = asked(checkpoint=Checkpoint(node_id="desk", after="t0/0"), agent=DESK)
    return after(progress, calling(*names).model_copy(update={"text": text}), agent=DESK)


def returned(progress: TurnProgress, result: ToolResult = DONE) -> TurnProgress:
    return apply_tool_result(DESK, progress, progress.calls[0], result, at=AT, initial_context={})


def results(progress: TurnProgress) -> dict[str, str]:
    return {each.call_id: each.content for each in progress.messages if isinstance(each, ToolReturned)}


def test_a_session_ends_after_the_call_and_its_words_are_said() -> None:
    progress = returned(replied("hang_up", text="Thank you."))
    assert (progress.next_step, progress.outcome, progress.ending) == (None, "ended", "end_tool")
    assert progress.text == "Thank you.\n\nGoodbye, Ann."


def test_a_hand_over_ends_the_session_too() -> None:
    progress = returned(
        replied("to_a_person"), ToolResult(content="Handed over.", assigned={"handed_over_to": "+39055"})
    )
    assert (progress.outcome, progress.ending, progress.said) == ("ended", "handed_over", ())
    assert progress.gathered_context == {"handed_over_to": "+39055"}


def test_a_call_that_was_denied_ends_nothing() -> None:
    progress = returned(replied("hang_up"), FAILED)
    assert (progress.next_step, progress.outcome, progress.ending, progress.said) == ("reply", None, None, ())


@pytest.mark.parametrize("names", [("hang_up", "sum"), ("sum", "hang_up")])
def test_tools_beside_the_end_are_run_first(names: tuple[str, str]) -> None:
    first = returned(replied(*names), ToolResult(content="7"))
    assert (first.next_step, first.outcome) == ("tools", None)
    second = returned(first, ToolResult(content="8"))
    assert (second.outcome, results(second)) == ("ended", {"c1": "7", "c2": "8"})


def test_the_first_of_two_endings_counts() -> None:
    progress = returned(returned(replied("to_a_person", "hang_up"), ToolResult(content="a")), ToolResult(content="b"))
    assert (progress.ending, progress.said) == ("handed_over", ())


@pytest.mark.parametrize("names", [("hang_up", "more"), ("more", "hang_up")])
def test_a_transition_beside_the_end_is_not_taken_and_gets_a_result(names: tuple[str, str]) -> None:
    progress = returned(replied(*names))
    assert (progress.outcome, progress.node_id, progress.said) == ("ended", "desk", ("Goodbye, Ann.",))
    assert set(results(progress)) == {"c1", "c2"}, "a fork continues from here: every call has a result"
