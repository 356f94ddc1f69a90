"""Scenarios of recorded histories: together they take every path through the session workflow."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from contracts.webhooks import WebhookTarget
from playhead.services.example_agents import example_agents
from tests.replay.branching_scenarios import branching, deadline, last_look, parting, stopping
from tests.replay.caller_scenarios import caller_fails, lines_with_replies, simulated_caller, unattended
from tests.replay.changed_session import ChangedSession
from tests.replay.summary_scenarios import summaries
from tests.replay.tool_scenarios import approvals, client_tools, fetched_before_the_opening, options, tools, variables
from tests.support.agents import limited
from tests.support.provider import ErrorReply, Gate, ModelProvider, TextReply, ToolCallReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow

BOOKING = next(agent for agent in example_agents() if agent.name == "booking-line")

Story = Callable[[SessionStack, ModelProvider], Awaitable[SessionHandle]]


@dataclass(frozen=True)
class Scenario:
    """A story to hold on a server, by a workflow that continues as new after `events_per_run` events."""

    story: Story
    workflow: type[SessionWorkflow] = SessionWorkflow
    events_per_run: int | None = None


async def three_turns(stack: SessionStack, _provider: ModelProvider) -> SessionHandle:
    """The greeting and three turns with the offline demo model; the session stays open."""
    session = await stack.open(BOOKING, initial_context={"first_name": "Anna"})
    for text in ("I'd like to book a table please", "Tomorrow at 8pm for 4 people", "My name is Anna Rossi"):
        await session.say(text)
    await session.until_settled()
    return session


async def rewind_and_branch(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Two branches, a late reply on a discarded one, the cursor cleared, and a rewind to before the first turn."""
    gate = Gate()
    model = provider.model("rewind-and-branch")
    model.script(TextReply("One."), TextReply("Too late.", gate=gate), TextReply("Two."), TextReply("Anew."))
    session = await stack.open(model=model.string)
    first = await session.say("1")
    await session.say("Never answered in time", wait=False)
    await gate.reached()
    await session.rewind(first.turn.id)
    await session.say("2")
    gate.open()
    await session.billed(4)
    greeting = (await session.timeline()).turns[0]
    await session.rewind(greeting.id)
    await session.rewind(None)
    await session.rewind(greeting.id, before=True)
    await session.say("From the start")
    await session.until_settled()
    return session


async def failure_and_recovery(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A retried step, a turn that fails at the model, one that fails for blank replies, and the answer after them."""
    model = provider.model("failure-and-recovery")
    model.script(
        ErrorReply(429),
        TextReply("One."),
        *[ErrorReply(500)] * 5,
        TextReply(""),
        TextReply(""),
        TextReply(""),
        TextReply("Two."),
    )
    session = await stack.open(model=model.string)
    for text in ("1", "Lost", "Blank", "2"):
        await session.say(text)
    await session.until_settled()
    return session


async def signals(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Every signal, applied and rejected; one comes with the start, and the last one ends the session."""
    model = provider.model("signals")
    session = await stack.prepare(model=model.string)
    await session.begin(signal="user_message", argument="With the start")
    await session.handle.signal("user_message", {"text": "Queued", "message_id": "msg_1"})
    await eventually(lambda: _turns_are_answered(session, 3))
    for name, arguments in (
        ("user_message", []),
        ("user_message", [""]),
        ("user_message", [42]),
        ("rewind_to", ["turn_of_somebody_else"]),
        ("rewind_to", [{"foo": 1}]),
        ("rewind_to", [(await session.timeline()).turns[0].id]),
        ("user_message", ["After the rewind"]),
    ):
        await session.handle.signal(name, args=arguments)
    await eventually(lambda: _turns_are_answered(session, 2))
    await session.handle.signal("end_session")
    await session.handle.result()
    return session


async def quiet_tasks(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Workflow tasks that leave no command, one after the other: every second one is marked."""
    session = await stack.open(model=provider.model("quiet-tasks").string)
    await session.until_settled()
    for _ in range(4):
        await session.handle.signal(SessionWorkflow.settle)
        await session.until_settled()
    await session.say("Still here?")
    await session.until_settled()
    await session.end()
    await session.handle.result()
    return session


async def end_node(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Through two nodes, past a tool that does not exist, to the node that ends the session."""
    model = provider.model("end-node")
    model.script(
        ToolCallReply("to_loans"),
        TextReply("Which title?"),
        ToolCallReply("order_pizza"),
        TextReply("No."),
        ToolCallReply("farewell"),
        TextReply("Goodbye."),
    )
    session = await stack.open(model=model.string)
    for text in ("A book", "And a pizza", "That was all"):
        await session.say(text)
    await session.handle.result()
    return session


async def busy_and_ended(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Queued messages, a repeat, a rejection after acceptance, and an end while a reply is pending."""
    gate = Gate()
    model = provider.model("busy-and-ended")
    model.script(TextReply("One."), TextReply("Two."), TextReply("Three."), TextReply("Late.", gate=gate))
    session = await stack.open(model=model.string)
    waiting = [asyncio.create_task(session.say(text, message_id=text, on_busy="enqueue")) for text in ("1", "2", "3")]
    await asyncio.gather(*waiting)
    await session.say("1", message_id="1", wait=False)
    await session.say("4", wait=False)
    await gate.reached()
    lost = asyncio.create_task(session.say("5", on_busy="enqueue"))
    await eventually(lambda: _revision_is(session, 10))
    await session.end("the library closes")
    await asyncio.wait([lost])
    lost.exception()
    gate.open()
    await session.handle.result()
    return session


async def continue_as_new(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Three runs: messages by update and by signal, a rewind into the first run, and the end."""
    session = await stack.open(model=provider.model("continue-as-new").string)
    first = await session.say("Hello")
    runs = {first.head.run_id}
    while len(runs) < 3:
        await session.say("More", on_busy="enqueue")
        await session.handle.signal("user_message", "And more")
        runs.add((await session.status()).run_id)
    await session.until_settled()
    await session.rewind(first.turn.id)
    await session.say("Another way")
    await session.end()
    await session.handle.result()
    return session


async def inactivity(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A session that is left alone after one message, with its deadline put off by it."""
    model = provider.model("inactivity")
    session = await stack.open(limited(inactivity_seconds=5), model=model.string)
    await session.say("Hello")
    await session.handle.result()
    return session


async def shared_settlements(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A busy conversation whose turns are settled along with later model calls: one call fails, another takes long."""
    patient = QUICK.model_copy(update={"settle_within": 1.0})
    gate = Gate()
    model = provider.model("shared-settlements")
    session = await stack.open(model=model.string, timing=patient)
    for last in (TextReply("In time"), ErrorReply(401), TextReply("Late", gate=gate)):
        for number in range(7):
            await session.say(f"Message {number}")
        model.script(last)
        settlements = len(await session.settlements())
        saying = asyncio.create_task(session.say("Last"))
        if isinstance(last, TextReply) and last.gate is not None:
            await gate.reached()
            await eventually(partial(_settlements, session, settlements + 1))
            gate.open()
        await saying
    await session.end()
    await session.handle.result()
    return session


async def _settlements(session: SessionHandle, count: int) -> bool:
    return len(await session.settlements()) >= count


async def reported_end(stack: SessionStack, _provider: ModelProvider) -> SessionHandle:
    """A session whose end is reported, to a receiver that never takes the report."""
    session = await stack.open(webhook=WebhookTarget(url="http://127.0.0.1:9/", secret="HOOK_KEY"))
    await session.end()
    await session.handle.result()
    return session


SCENARIOS = {
    "three-turns": Scenario(three_turns),
    "rewind-and-branch": Scenario(rewind_and_branch),
    "failure-and-recovery": Scenario(failure_and_recovery),
    "signals": Scenario(signals),
    "quiet-tasks": Scenario(quiet_tasks),
    "end-node": Scenario(end_node),
    "busy-and-ended": Scenario(busy_and_ended),
    "continue-as-new": Scenario(continue_as_new, events_per_run=40),
    "inactivity": Scenario(inactivity),
    "tools": Scenario(tools),
    "variables": Scenario(variables),
    "approvals": Scenario(approvals),
    "client-tools": Scenario(client_tools),
    "options": Scenario(options),
    "pre-call-fetch": Scenario(fetched_before_the_opening, events_per_run=40),
    "reported-end": Scenario(reported_end),
    "simulated-caller": Scenario(simulated_caller, events_per_run=60),
    "caller-fails": Scenario(caller_fails),
    "lines-with-replies": Scenario(lines_with_replies),
    "branching": Scenario(branching),
    "stopping": Scenario(stopping),
    "last-look": Scenario(last_look),
    "deadline": Scenario(deadline),
    "parting": Scenario(parting),
    "unattended": Scenario(unattended),
    "shared-settlements": Scenario(shared_settlements),
    "summaries": Scenario(summaries, events_per_run=60),
}
"""Histories that every later version of the code has to replay."""

CHANGED = "changed-workflow"
CHANGED_SCENARIO = Scenario(three_turns, workflow=ChangedSession)
"""A history that the code must not be able to replay: it shows that the check can fail."""


async def _turns_are_answered(session: SessionHandle, count: int) -> bool:
    turns = (await session.timeline()).turns
    return len(turns) == count and all(turn.status == "completed" for turn in turns)


async def _revision_is(session: SessionHandle, revision: int) -> bool:
    return (await session.status()).revision == revision
