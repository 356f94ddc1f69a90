"""Tools and variables in a turn: order, context and harmless errors."""

from decimal import Decimal

import pytest
from pydantic import JsonValue

from domain.agents.definition import AgentDefinition, Limits
from domain.turns.engine import ExtractionResult, ModelReply, ToolCall, TurnProgress
from domain.turns.turn import AgentSaid, Checkpoint, ToolReturned
from domain.usage import ModelUsage, Usage, rounded_cost
from tests.domain.turns.answering import DESK, after, asked, calling, learning, moves, returning


def at(node_id: str, agent: AgentDefinition = DESK) -> TurnProgress:
    """A turn with a user message at a node."""
    return asked(checkpoint=Checkpoint(node_id=node_id, after="t0/0"), agent=agent)


def replied(progress: TurnProgress, *replies: ModelReply) -> TurnProgress:
    return after(progress, *replies, agent=DESK)


def tool_results(progress: TurnProgress) -> list[tuple[str, str]]:
    """The results that the model receives for its calls, in order."""
    return [(each.call_id, each.content) for each in progress.messages if isinstance(each, ToolReturned)]


def happened(progress: TurnProgress) -> list[tuple[str, JsonValue]]:
    """The events, each with the call or the node it is about."""
    about = {"node_transition": "to_node", "variables_extracted": "node"}
    return [(event.type, event.payload[about.get(event.type, "call_id")]) for event in progress.events]


def limited(steps: int) -> AgentDefinition:
    return DESK.model_copy(update={"limits": Limits(max_steps_per_turn=steps)})


# --- tools --------------------------------------------------------------------------------------


def test_a_tool_runs_before_the_model_continues_and_its_result_is_sent_to_it() -> None:
    call = ToolCall(id="c1", name="find_table", arguments={"guests": 4})
    waiting = replied(at("greet"), ModelReply(text="Let me see.", tool_calls=(call,)))
    assert (waiting.next_step, waiting.calls, waiting.messages) == ("tools", (call,), ())
    progress = returning(waiting, "Table 7.")
    assert (progress.next_step, progress.calls, progress.node_id) == ("reply", (), "greet")
    assert tool_results(progress) == [("c1", "Table 7.")]
    assert [(event.type, event.payload) for event in progress.events] == [
        ("tool_call_started", {"call_id": "c1", "name": "find_table", "arguments": {"guests": 4}}),
        ("tool_call_result", {"call_id": "c1", "name": "find_table", "result": "Table 7."}),
    ]
    assert replied(progress, ModelReply(text="Table 7.")).text == "Let me see.\n\nTable 7."


def test_several_tools_of_one_reply_are_all_answered_before_the_model_goes_on() -> None:
    waiting = replied(at("greet"), calling("find_table", "check_menu", "crm__find"))
    assert [call.name for call in waiting.calls] == ["find_table", "check_menu", "crm__find"]
    first = returning(waiting, "Table 7.")
    second = returning(first, "Pasta.")
    assert (first.next_step, second.next_step) == ("tools", "tools")
    progress = returning(second, "A friend of the house.")
    assert progress.next_step == "reply"
    assert tool_results(progress) == [("c1", "Table 7."), ("c2", "Pasta."), ("c3", "A friend of the house.")]


def test_calls_that_share_an_id_are_each_answered_once() -> None:
    twice = ModelReply(tool_calls=(ToolCall(id="c", name="find_table"), ToolCall(id="c", name="check_menu")))
    first = returning(replied(at("greet"), twice), "Table 7.")
    assert [call.name for call in first.calls] == ["check_menu"]
    assert tool_results(returning(first, "Pasta.")) == [("c", "Table 7."), ("c", "Pasta.")]


@pytest.mark.parametrize("names", [("find_table", "to_booking"), ("to_booking", "find_table")])
def test_a_tool_next_to_a_transition_runs_before_the_move(names: tuple[str, str]) -> None:
    waiting = replied(at("greet"), calling(*names))
    assert (waiting.next_step, waiting.node_id, moves(waiting)) == ("tools", "greet", [])
    progress = returning(waiting, "Table 7.", table=7)
    assert (progress.next_step, progress.node_id) == ("reply", "booking")
    assert progress.said == ("Table 7 is free.",)
    assert sorted(call_id for call_id, _ in tool_results(progress)) == ["c1", "c2"]


def test_a_result_joins_the_context_and_what_it_replaces_is_gone() -> None:
    progress = returning(replied(at("greet"), calling("find_table")), "Table 7.", table=7, kitchen=["open", None])
    assert progress.gathered_context == {"table": 7, "kitchen": ["open", None]}
    progress = returning(replied(progress, calling("find_table")), "Table 8.", table=8)
    assert progress.gathered_context == {"table": 8, "kitchen": ["open", None]}
    assert progress.checkpoint().gathered_context == progress.gathered_context


def test_a_tool_that_failed_is_an_event_and_the_model_goes_on() -> None:
    progress = returning(replied(at("greet"), calling("find_table")), "Error (timeout): too late.", error="timeout")
    assert progress.next_step == "reply"
    assert tool_results(progress) == [("c1", "Error (timeout): too late.")]
    assert progress.events[-1].payload == {
        "call_id": "c1",
        "name": "find_table",
        "result": "Error (timeout): too late.",
        "error": "timeout",
    }


def test_a_tool_that_failed_does_not_stop_the_move() -> None:
    progress = returning(replied(at("greet"), calling("find_table", "to_booking")), "Error.", error="http_error")
    assert (progress.node_id, progress.said) == ("booking", ("Table none is free.",))


def test_a_tool_that_another_node_offers_is_refused_here() -> None:
    progress = replied(at("booking"), calling("check_menu"))
    assert progress.next_step == "reply"
    assert progress.events[-1].payload["error"] == "unknown_tool"


@pytest.mark.parametrize("called", ["crm", "crm__", "__find", "find_table__find"])
def test_a_name_that_is_not_a_tool_of_the_server_is_refused(called: str) -> None:
    assert replied(at("greet"), calling(called)).events[-1].payload["error"] == "unknown_tool"


# --- variables ----------------------------------------------------------------------------------


def test_variables_are_extracted_after_the_tools_and_before_the_node_is_left() -> None:
    waiting = replied(at("booking"), calling("bye", "find_table"))
    assert waiting.next_step == "tools"
    reading = returning(waiting, "Table 7.", table=7)
    assert (reading.next_step, reading.node_id, reading.said) == ("extraction", "booking", ())
    progress = learning(reading, guests=4, first_name="Bo")
    assert (progress.next_step, progress.node_id, progress.leaving) == ("reply", "goodbye", None)
    assert progress.said == ("A table for 4, Bo.",)
    assert progress.gathered_context == {"table": 7, "guests": 4, "first_name": "Bo"}
    assert happened(progress) == [
        ("tool_call_started", "c1"),
        ("tool_call_started", "c2"),
        ("tool_call_result", "c2"),
        ("variables_extracted", "booking"),
        ("node_transition", "goodbye"),
        ("tool_call_result", "c1"),
    ]
    assert progress.events[3].payload == {"node": "booking", "variables": {"guests": 4, "first_name": "Bo"}}


def test_greeting_of_the_next_node_knows_what_was_just_read() -> None:
    progress = learning(replied(at("booking"), calling("wait")), first_name="Bo")
    assert (progress.outcome, progress.said) == ("answered", ("Have a seat, Bo.",))
    assert progress.checkpoint().carry[-1] == AgentSaid(text="Have a seat, Bo.")


def test_node_that_only_calls_a_tool_is_not_left_and_nothing_is_read() -> None:
    progress = returning(replied(at("booking"), calling("find_table")), "Table 7.")
    assert (progress.next_step, happened(progress)[-1]) == ("reply", ("tool_call_result", "c1"))


def test_variables_of_an_end_node_are_read_after_its_last_words_and_end_the_session() -> None:
    reading = replied(at("goodbye"), ModelReply(text="Goodbye."))
    assert (reading.next_step, reading.outcome, reading.text) == ("extraction", None, "Goodbye.")
    ended = learning(reading, content=True)
    assert (ended.outcome, ended.next_step, ended.text) == ("ended", None, "Goodbye.")
    assert ended.gathered_context == {"content": True}


@pytest.mark.parametrize("node", ["booking", "goodbye"])
def test_a_failed_extraction_is_an_event_and_stops_nothing(node: str) -> None:
    reply = ModelReply(text="Goodbye.") if node == "goodbye" else calling("bye")
    failed = ExtractionResult(error="The model is away.")
    progress = learning(replied(at(node), reply), failed)
    assert progress.outcome == ("ended" if node == "goodbye" else None)
    assert progress.node_id == "goodbye"
    assert progress.gathered_context == {}
    [payload] = [event.payload for event in progress.events if event.type == "variables_extracted"]
    assert payload == {"node": node, "variables": {}, "error": "The model is away."}


def test_reading_variables_is_a_step_that_counts_in_usage_and_cost() -> None:
    used = Usage(llm={"test:model": ModelUsage(total_tokens=10, requests=1)})
    reply = calling("bye").model_copy(update={"usage": used, "cost": rounded_cost("test:model", Decimal("0.1"))})
    extraction = ExtractionResult(values={"guests": 4}, usage=used, cost=rounded_cost("test:model", Decimal("0.2")))
    progress = learning(replied(at("booking"), reply), extraction)
    assert (progress.steps, progress.usage.requests, progress.cost.total) == (2, 2, Decimal("0.3"))


def test_messages_that_no_step_has_saved_stay_for_the_next_reply() -> None:
    reading = returning(replied(at("booking"), calling("bye", "find_table")), "Table 7.")
    assert tool_results(reading) == [("c2", "Table 7.")]
    assert [call_id for call_id, _ in tool_results(learning(reading))] == ["c2", "c1"]


# --- limits -------------------------------------------------------------------------------------


def test_last_allowed_step_may_not_ask_for_a_tool() -> None:
    progress = after(at("greet"), calling("find_table"), agent=limited(1))
    assert progress.outcome == "failed"
    assert "max_steps_per_turn" in (progress.error or "")


def test_variables_of_the_last_allowed_step_are_read_before_the_session_ends() -> None:
    reading = after(at("goodbye"), ModelReply(text="Goodbye."), agent=limited(1))
    assert reading.next_step == "extraction"
    assert learning(reading, content=True).outcome == "ended"


def test_step_that_reads_variables_counts_against_the_limit() -> None:
    agent = limited(2)
    progress = learning(after(at("booking"), calling("again"), agent=agent), agent=agent)
    assert progress.outcome == "failed"
    assert progress.events[-1].type == "tool_call_result"
    assert learning(after(at("booking"), calling("wait"), agent=agent), agent=agent).outcome == "answered"
