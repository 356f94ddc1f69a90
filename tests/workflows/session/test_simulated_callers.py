"""Simulated users in a session: their messages are paid for once and billed, and they stop."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from contracts.caller import PlayCallerInput
from domain.agents.definition import ApprovalRule
from domain.agents.tool_mocks import ToolMock
from domain.sessions.caller_config import CallerLimits, Persona, SetSimulator, SimulatorConfig
from domain.sessions.views import SessionHead
from store.api_keys import KeyStore
from store.organizations import OrganizationStore
from tests.support.activities import session_activities
from tests.support.agents import CLERK, GREETING
from tests.support.booking_agent import library_agent
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack, session_worker, types_of
from tests.support.waiting import eventually
from tests.workflows.session.killable_worker import KillPoint, killable_worker
from workflows.session.workflow import SessionWorkflow

Scripted = Callable[..., ScriptedModel]

CONFIG = SimulatorConfig(goal="Borrow a book.", persona=Persona(name="Anna"), facts={"title": "Emma"})
SOON_MISSED = QUICK.model_copy(update={"heartbeat": 5.0})
"""A dead worker is noticed after five seconds; a living one is not silent for so long, however busy the machine is."""
HANG_UP = ToolCallReply("hang_up", '{"reason": "done"}')


async def opened(
    stack: SessionStack, caller: SimulatorConfig, *, agent_model: str = "demo", **start: object
) -> SessionHandle:
    session = await stack.prepare(CLERK, model=agent_model)
    session.start = session.start.model_copy(update={"simulator": caller, **start})
    await session.begin()
    return session


def played_by(model: ScriptedModel, config: SimulatorConfig = CONFIG, **changes: object) -> SimulatorConfig:
    return config.model_copy(update={"model": model.string, **changes})


async def ended(session: SessionHandle) -> SessionHead:
    await session.handle.result()
    return await session.status()


async def test_a_simulated_user_talks_until_it_hangs_up(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(TextReply("Do you have Emma?"), TextReply('"Thank you, goodbye."'), HANG_UP)
    agent = scripted(TextReply("We do."), TextReply("Goodbye."))
    session = await opened(stack, played_by(caller), agent_model=agent.string)
    head = await ended(session)
    assert head.completion_reason == "caller_hung_up"
    assert await session.texts() == [
        (None, GREETING),
        ("Do you have Emma?", "We do."),
        ("Thank you, goodbye.", "Goodbye."),
    ]
    assert head.simulator is not None
    assert (head.simulator.lines, head.simulator.enabled, head.simulator.stopped) == (2, False, "caller_hung_up")


async def test_the_model_of_a_simulated_user_receives_the_agents_replies_as_user_messages(
    stack: SessionStack, scripted: Scripted
) -> None:
    caller = scripted(TextReply("Do you have Emma?"), TextReply("And Persuasion?"), HANG_UP)
    agent = scripted(TextReply("We do."), TextReply("That too."))
    await ended(await opened(stack, played_by(caller), agent_model=agent.string))
    first, second, third = caller.journal
    assert first.conversation == [("user", GREETING)]
    assert second.conversation == [("user", GREETING), ("assistant", "Do you have Emma?"), ("user", "We do.")]
    assert third.conversation[-2:] == [("assistant", "And Persuasion?"), ("user", "That too.")]
    assert "Borrow a book." in first.instructions
    assert "- title: Emma" in first.instructions
    assert first.tools == ["hang_up"]


async def test_every_simulated_message_is_billed_once_beside_the_turns(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(TextReply("Do you have Emma?"), HANG_UP)
    agent = scripted(TextReply("We do."))
    session = await opened(stack, played_by(caller), agent_model=agent.string)
    head = await ended(session)
    rows = await stack.ledger(session)
    assert sorted(row.purpose for row in rows) == ["caller", "caller", "turn", "turn"]
    billed = sum(row.usage.requests for row in rows)
    assert billed == len(caller.journal) + len(agent.journal) == head.usage.requests == 3


async def test_a_simulated_user_cannot_hang_up_before_its_minimum_of_turns(
    stack: SessionStack, scripted: Scripted
) -> None:
    caller = scripted(TextReply("Hello?"), TextReply("Anybody?"), HANG_UP)
    session = await opened(stack, played_by(caller, min_turns=2))
    await ended(session)
    assert [asked.tools for asked in caller.journal] == [[], [], ["hang_up"]]


async def test_a_message_with_a_goodbye_is_answered_before_the_end(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(ToolCallReply("hang_up", '{"reason": "done"}', text="That is all, bye."))
    agent = scripted(TextReply("Goodbye."))
    session = await opened(stack, played_by(caller), agent_model=agent.string)
    assert (await ended(session)).completion_reason == "caller_hung_up"
    assert (await session.texts())[-1] == ("That is all, bye.", "Goodbye.")
    assert len(caller.journal) == 1


async def test_an_opening_is_sent_without_a_model_call(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(HANG_UP)
    agent = scripted(TextReply("Hello Anna."))
    session = await opened(stack, played_by(caller, opening="Hello, it is Anna."), agent_model=agent.string)
    await ended(session)
    assert (await session.texts())[1] == ("Hello, it is Anna.", "Hello Anna.")
    [asked] = caller.journal
    assert asked.conversation == [("user", GREETING), ("assistant", "Hello, it is Anna."), ("user", "Hello Anna.")]


async def test_a_simulated_user_that_repeats_itself_is_stopped(stack: SessionStack, scripted: Scripted) -> None:
    agent = scripted(*[TextReply("I do not understand.")] * 9)
    caller = scripted(*[TextReply("I want a book about fish.")] * 9)
    limits = CallerLimits(max_stalled_turns=2)
    session = await opened(stack, played_by(caller, limits=limits), agent_model=agent.string)
    assert (await ended(session)).completion_reason == "caller_stalled"
    assert len(caller.journal) == 3


async def test_a_simulated_user_stops_at_its_time_limit_while_a_reply_is_pending(
    stack: SessionStack, scripted: Scripted
) -> None:
    agent = scripted(TextReply("A very long story.", gate=Gate()))
    caller = scripted(TextReply("Tell me a story."))
    session = await opened(stack, played_by(caller, limits=CallerLimits(seconds=1)), agent_model=agent.string)
    assert (await ended(session)).completion_reason == "caller_time_over"


async def test_a_person_takes_over_and_the_pending_message_is_billed_and_dropped(
    stack: SessionStack, scripted: Scripted
) -> None:
    agent = scripted(TextReply("At nine."), TextReply("It is."))
    caller = scripted(
        TextReply("I would like to borrow a book.", gate=(gate := Gate())), TextReply("Is it in?"), HANG_UP
    )
    session = await opened(stack, played_by(caller), agent_model=agent.string)
    await gate.reached()
    await session.say("When do you open?")
    assert await session.texts() == [(None, GREETING), ("When do you open?", "At nine.")]
    status = (await session.status()).simulator
    assert status is not None
    assert (status.enabled, status.has_the_floor) == (True, False)
    await session.handle.execute_update(SessionWorkflow.set_simulator, SetSimulator(enabled=True))
    await ended(session)
    assert [said for said, _ in await session.texts()] == [None, "When do you open?", "Is it in?"]
    assert caller.journal[1].conversation == [
        ("user", GREETING),
        ("assistant", "When do you open?"),
        ("user", "At nine."),
    ]
    assert len([row for row in await stack.ledger(session) if row.purpose == "caller"]) == 3


async def test_a_simulated_user_continues_from_a_rewind(stack: SessionStack, scripted: Scripted) -> None:
    agent = scripted(TextReply("We have."), TextReply("It is out."), TextReply("It is in."))
    caller = scripted(
        *(TextReply("Do you have Emma?"), TextReply("Is it in?"), TextReply("Never mind.", gate=(gate := Gate()))),
        *(TextReply("Are you sure?"), HANG_UP),
    )
    session = await opened(stack, played_by(caller), agent_model=agent.string)
    await gate.reached()
    second = (await session.timeline()).turns[1]
    await session.rewind(second.id)
    await session.handle.execute_update(SessionWorkflow.set_simulator, SetSimulator(enabled=True))
    await ended(session)
    assert [said for said, _ in await session.texts()] == [None, "Do you have Emma?", "Are you sure?"]
    expected = [("user", GREETING), ("assistant", "Do you have Emma?"), ("user", "We have.")]
    assert caller.journal[3].conversation == expected, "what came after the rewind is not known any more"


async def test_an_ended_session_bills_the_pending_simulated_message(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(TextReply("I would like to borrow a book.", gate=(gate := Gate())))
    session = await opened(stack, played_by(caller))
    await gate.reached()
    await session.end()
    assert (await ended(session)).completion_reason == "user_hangup"
    billed = [row.usage.requests for row in await stack.ledger(session) if row.purpose == "caller"]
    assert (billed, [said for said, _ in await session.texts()]) == ([1], [None])


async def test_a_simulated_user_is_switched_on_and_off_by_signal(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(TextReply("Do you have Emma?"), HANG_UP)
    session = await stack.open()
    config = played_by(caller)
    await session.handle.signal(SessionWorkflow.switch_simulator, {"enabled": True, "config": config.model_dump()})
    assert (await ended(session)).completion_reason == "caller_hung_up"


async def test_an_invalid_simulator_signal_is_recorded_in_the_timeline(stack: SessionStack) -> None:
    session = await stack.open()
    await session.handle.signal(SessionWorkflow.switch_simulator, True)

    async def refused() -> bool:
        return "command_refused" in types_of((await session.timeline()).turns[0])

    await eventually(refused)


async def test_a_simulated_user_whose_model_fails_ends_the_session_with_an_event(
    stack: SessionStack, scripted: Scripted
) -> None:
    caller = scripted(ErrorReply(400))
    session = await opened(stack, played_by(caller))
    head = await ended(session)
    assert head.completion_reason == "caller_failed"
    assert types_of((await session.timeline()).turns[-1])[-2:] == ["execution_error", "session_end"]
    assert len(caller.journal) == 1


async def test_a_blank_simulated_message_is_requested_three_times(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(TextReply(""), TextReply(""), TextReply(""))
    session = await opened(stack, played_by(caller))
    assert (await ended(session)).completion_reason == "caller_failed"
    assert len(caller.journal) == 3
    billed = [row for row in await stack.ledger(session) if row.purpose == "caller"]
    assert [row.usage.requests for row in billed] == [3]


async def test_an_agent_that_fails_ends_the_simulation(stack: SessionStack, scripted: Scripted) -> None:
    caller, agent = scripted(TextReply("Hello?")), scripted(ErrorReply(400))
    session = await opened(stack, played_by(caller), agent_model=agent.string)
    assert (await ended(session)).completion_reason == "agent_failed"


async def test_the_demo_model_plays_user_and_agent_until_the_agent_ends_the_session(stack: SessionStack) -> None:
    session = await opened(stack, CONFIG.model_copy(update={"goal": "Borrow a book. Leave.", "seed": 3}))
    head = await ended(session)
    assert head.completion_reason == "end_node"
    assert head.simulator is not None
    assert head.simulator.lines == len(await session.texts()) - 1


async def test_mocked_tools_answer_without_a_person_and_without_a_service(
    stack: SessionStack, scripted: Scripted
) -> None:
    agent = scripted(ToolCallReply("find_book", '{"title": "Emma"}'), TextReply("It is on shelf 7."))
    caller = scripted(TextReply("Emma, please."), HANG_UP)
    library = library_agent("https://library.invalid")
    careful = library.tools["find_book"].model_copy(update={"approval": ApprovalRule()})
    definition = library.model_copy(update={"tools": {**library.tools, "find_book": careful}})
    session = await stack.prepare(definition, model=agent.string)
    mock = ToolMock(tool="find_book", arguments={"title": "Emma"}, result={"shelf": 7})
    session.start = session.start.model_copy(update={"simulator": played_by(caller), "mocks": (mock,)})
    await session.begin()
    await ended(session)
    events = [event for turn in (await session.timeline()).turns for event in turn.events]
    assert [event.payload["result"] for event in events if event.type == "tool_call_result"] == ['{"shelf":7}']
    assert (await session.status()).gathered_context["shelf"] == 7


async def test_a_message_whose_worker_died_before_reporting_it_is_not_paid_for_again(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    caller, agent = scripted(TextReply("Do you have Emma?"), HANG_UP), scripted(TextReply("We do."))
    session = await opened(stack_without_worker, played_by(caller), agent_model=agent.string, timing=SOON_MISSED)
    kill_at = KillPoint("after", "play_caller")
    async with killable_worker(
        stack_without_worker.client, stack_without_worker.task_queue, stack_without_worker.database, kill_at=kill_at
    ) as process:
        await process.killed()
    async with session_worker(stack_without_worker):
        assert (await ended(session)).completion_reason == "caller_hung_up"
        assert [said for said, _ in await session.texts()] == [None, "Do you have Emma?"]
    assert (len(caller.journal), len(agent.journal)) == (2, 1)


async def test_the_same_seed_gives_the_same_conversation_after_workers_were_killed(
    stack_without_worker: SessionStack,
) -> None:
    config = CONFIG.model_copy(update={"goal": "Borrow a book. Ask about opening hours. Leave.", "seed": 11})
    disturbed = await opened(stack_without_worker, config, timing=SOON_MISSED)
    for kill_point in (KillPoint("after", "play_caller", 2), KillPoint("before", "generate_step", 2)):
        async with killable_worker(
            stack_without_worker.client,
            stack_without_worker.task_queue,
            stack_without_worker.database,
            kill_at=kill_point,
        ) as process:
            await process.killed()
    async with session_worker(stack_without_worker):
        undisturbed = await opened(stack_without_worker, config, timing=SOON_MISSED)
        await ended(disturbed)
        await ended(undisturbed)
        assert await disturbed.texts() == await undisturbed.texts()
        assert len(await disturbed.texts()) > 3


async def test_an_organization_at_its_spending_limit_makes_no_simulated_message(
    stack: SessionStack, scripted: Scripted
) -> None:
    poor = "org_poor"
    await KeyStore(stack.database).ensure_organization(poor, "Has no money")
    await OrganizationStore(stack.database).set_terms(poor, {"monthly_limit": Decimal(0)})
    [play] = [each for each in session_activities(stack.database) if each.__name__ == "play_caller"]
    caller = scripted(TextReply("Never said."))
    asked = PlayCallerInput(
        session_id="ses_poor",
        organization_id=poor,
        call_id="turn_poor",
        previous_call_id=None,
        config=CONFIG,
        model=caller.string,
        lines=0,
        new_utterances=(),
    )
    with pytest.raises(ApplicationError) as refused:
        await ActivityEnvironment().run(play, asked)
    assert (refused.value.type, refused.value.non_retryable, caller.journal) == ("quota_exceeded", True, [])
