"""The footprint of a session in Temporal: bounded history per turn."""

from collections.abc import Callable

from temporalio.api.history.v1 import HistoryEvent

from contracts.sessions import GenerateStepInput
from tests.support.provider import ScriptedModel
from tests.support.session_stack import QUICK, SessionStack

Scripted = Callable[..., ScriptedModel]

EVENTS_PER_TURN = 11
"""Update accepted and completed; step scheduled, started and completed; two workflow tasks of three events."""


async def test_the_history_of_a_turn_does_not_grow_with_the_conversation(
    stack: SessionStack, scripted: Scripted
) -> None:
    timing = QUICK.model_copy(update={"settle_within": 3600.0})
    session = await stack.open(model=scripted().string, timing=timing)
    for number in range(40):
        await session.say(f"Message {number:02}")
    turns = by_turn(await session.events())
    early, late = turns[2:10], turns[30:38]
    assert bytes_of(late) < 1.05 * bytes_of(early)
    assert {len(turn) for turn in late} == {EVENTS_PER_TURN}, "settling costs a busy conversation nothing"


async def test_the_input_of_a_step_has_only_the_new_messages(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string)
    for number in range(3):
        await session.say(f"Message {number}")
    inputs = [
        (await stack.client.data_converter.decode(list(step.input.payloads), [GenerateStepInput]))[0]
        for step in await session.scheduled("generate_step")
    ]
    assert [[message.kind for message in step.messages] for step in inputs] == [
        ["agent_said", "user_said"],
        ["user_said"],
        ["user_said"],
    ]
    assert [step.after for step in inputs] == ["", *(step.digest for step in inputs[:-1])]


def by_turn(events: list[HistoryEvent]) -> list[list[HistoryEvent]]:
    """The events of each message: from the acceptance of its update to that of the next."""
    turns: list[list[HistoryEvent]] = []
    for event in events:
        update = event.workflow_execution_update_accepted_event_attributes
        if update.accepted_request.input.name == "send_message":
            turns.append([])
        if turns:
            turns[-1].append(event)
    return turns


def bytes_of(turns: list[list[HistoryEvent]]) -> int:
    return sum(event.ByteSize() for turn in turns for event in turn)
