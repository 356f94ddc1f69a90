"""Cancelled model calls: the connection closes, and the text and usage so far are kept."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import JsonValue
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, CancelledError
from temporalio.worker import Worker

from activities.heartbeats import MAX_HEARTBEAT_INTERVAL
from activities.llm.providers import ModelProviders
from activities.model import ModelActivities, ToolLister
from activities.settlement import Recorder
from activities.simulated_caller import CallerPlayer
from activities.spending_limit import SpendingLimit
from activities.tool_clients.dispatcher import ToolDispatcher
from contracts.sessions import GenerateStepInput, GenerateStepResult
from domain.agents.definition import parse_definition
from domain.agents.tools import AnyTool, OfferedTool
from domain.turns.engine import ExtractionResult, ModelReply
from domain.turns.turn import UserSaid
from domain.usage import TokenPrice
from store.agents import AgentStore
from store.database.connection import Database
from store.organizations import OrganizationStore
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from tests.support.outages import BreakableDatabase
from tests.support.provider import Gate, NoReply, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import SessionStack
from tests.support.waiting import eventually
from tests.workflows.session.one_step import OneStep

Scripted = Callable[..., ScriptedModel]

REPLY = "We open at nine, and we close at six in the evening."
PARTIAL_REPLY = REPLY[: len(REPLY) // 2]
"""The part of a held reply that has arrived."""
PRICED = "cut-off"
"""The one model of these tests with a price: a dollar a token, in or out."""
AGENT = parse_definition(
    {
        "name": "cut-off",
        "prompt": "You speak for the town library.",
        "start": "desk",
        "nodes": {
            "desk": {"prompt": "Answer.", "extract": [{"name": "title", "type": "string", "hint": "the book"}]},
        },
    }
)


@dataclass(frozen=True)
class Bench:
    """Steps of one conversation, taken one by one without a session around them."""

    stack: SessionStack
    model: ScriptedModel
    session_id: str
    input: GenerateStepInput
    digests: dict[str, str] = field(default_factory=dict)

    async def begin(
        self,
        text: str = "When are you open?",
        *,
        kind: Literal["reply", "variables"] = "reply",
        after: str | None = None,
    ) -> "WorkflowHandle[OneStep, str]":
        """Start a turn of one step; `after` is the turn before it."""
        input = self.input.model_copy(
            update={
                "turn_id": f"turn_{uuid4().hex[:12]}",
                "after": self.digests[after] if after else "",
                "messages": (UserSaid(text=text),) if kind == "reply" else (),
            }
        )
        self.digests[input.turn_id] = input.digest
        return await self.stack.client.start_workflow(
            OneStep.run, args=[kind, input], id=input.turn_id, task_queue=self.stack.task_queue
        )

    async def saved(self, handle: "WorkflowHandle[OneStep, str]") -> list[ModelReply]:
        """The replies that the store holds for a turn."""
        turn = await StepStore(self.stack.database).turn_steps(self.session_id, handle.id)
        return [step.reply for step in turn.steps]


@pytest_asyncio.fixture
async def bench(stack_without_worker: SessionStack, scripted: Scripted) -> Bench:
    """A conversation with an agent, without a worker yet."""
    model = scripted(name=f"{PRICED}-{uuid4().hex[:8]}")
    start = (await stack_without_worker.prepare(AGENT, model=model.string)).start
    input = GenerateStepInput(
        session_id=start.session_id,
        organization_id=start.organization_id,
        turn_id="",
        step=0,
        after="",
        agent=start.agent,
        model=start.model,
        node_id="desk",
    )
    return Bench(stack_without_worker, model, start.session_id, input)


@asynccontextmanager
async def working(
    bench: Bench, *, database: Database | None = None, dispatcher: ToolLister | None = None
) -> AsyncIterator[None]:
    """A worker for single steps while the block runs; it stops without a grace period."""
    store = database or bench.stack.database
    price = TokenPrice(input=Decimal(1_000_000), output=Decimal(1_000_000))
    steps, providers = StepStore(store), ModelProviders(prices={f"openai:{bench.model.name}": price})
    limit = SpendingLimit(OrganizationStore(store))
    activities = ModelActivities(
        steps=steps,
        agents=AgentStore(bench.stack.database),
        dispatcher=dispatcher or ToolDispatcher(credentials={}, allowlist=[]),
        caller=providers,
        max_context_tokens=32_000,
        recorder=Recorder(SettlementStore(store)),
        player=CallerPlayer(steps=steps, limit=limit, caller=providers, max_context_tokens=32_000),
    )
    async with Worker(
        bench.stack.client,
        task_queue=bench.stack.task_queue,
        workflows=[OneStep],
        activities=[activities.generate_step, activities.extract_variables],
        max_heartbeat_throttle_interval=MAX_HEARTBEAT_INTERVAL,
        graceful_shutdown_timeout=timedelta(),
    ):
        yield


async def reply_of(handle: "WorkflowHandle[OneStep, str]") -> ModelReply:
    """The reply that the workflow got."""
    return GenerateStepResult.model_validate_json(await handle.result()).reply


async def test_a_cancelled_call_closes_the_connection_and_returns_the_partial_reply(bench: Bench) -> None:
    bench.model.script(TextReply(REPLY, gate=(gate := Gate())))
    async with working(bench):
        handle = await bench.begin()
        await gate.reached()
        await handle.signal(OneStep.cancel)
        await bench.model.journal[0].hung_up()
        reply = await reply_of(handle)
    assert (reply.text, reply.interrupted, reply.tool_calls) == (PARTIAL_REPLY.strip(), True, ())
    assert await bench.saved(handle) == [reply]
    assert len(bench.model.journal) == 1


async def test_the_next_turn_sends_the_partial_reply_to_the_model(bench: Bench) -> None:
    bench.model.script(TextReply(REPLY, gate=(gate := Gate())), TextReply("At six."))
    async with working(bench):
        handle = await bench.begin()
        await gate.reached()
        await handle.signal(OneStep.cancel)
        await reply_of(handle)
        await reply_of(await bench.begin("Wait: when do you close?", after=handle.id))
    assert bench.model.journal[1].conversation == [
        ("user", "When are you open?"),
        ("assistant", PARTIAL_REPLY),
        ("user", "Wait: when do you close?"),
    ]


async def test_usage_of_a_cancelled_reply_is_estimated_from_its_request_and_text_and_priced(bench: Bench) -> None:
    bench.model.script(TextReply(REPLY, gate=(gate := Gate())))
    async with working(bench):
        handle = await bench.begin("x" * 4_000)
        await gate.reached()
        await handle.signal(OneStep.cancel)
        reply = await reply_of(handle)
    [used] = reply.usage.llm.values()
    assert reply.estimated
    assert 1_000 < used.prompt_tokens < 1_100, "a thousand for the message, and a few for the instructions"
    assert used.completion_tokens == -(-len(PARTIAL_REPLY) // 4)
    assert (used.total_tokens, used.requests) == (used.prompt_tokens + used.completion_tokens, 1)
    assert reply.cost.total == used.total_tokens


async def test_an_incomplete_tool_call_is_not_made(bench: Bench) -> None:
    bench.model.script(ToolCallReply("to_loans", text=REPLY, gate=(gate := Gate())))
    async with working(bench):
        handle = await bench.begin()
        await gate.reached()
        await handle.signal(OneStep.cancel)
        reply = await reply_of(handle)
    assert (reply.text, reply.tool_calls) == (PARTIAL_REPLY.strip(), ())


async def test_a_cancelled_request_without_a_response_is_billed_for_its_prompt(bench: Bench) -> None:
    bench.model.script(NoReply(), TextReply("At six."))
    async with working(bench):
        handle = await bench.begin()
        await eventually(has_request(bench.model))
        await handle.signal(OneStep.cancel)
        reply = await reply_of(handle)
        await reply_of(await bench.begin("And when do you close?", after=handle.id))
    [used] = reply.usage.llm.values()
    assert (reply.text, reply.interrupted, reply.estimated) == ("", True, True)
    assert used.prompt_tokens > 0
    assert used.completion_tokens == 0
    assert [role for role, _ in bench.model.journal[1].conversation] == ["user", "user"], "no empty reply between them"


async def test_a_call_cancelled_before_its_request_was_sent_costs_nothing(
    bench: Bench,
) -> None:
    dispatcher = HeldDispatcher()
    async with working(bench, dispatcher=dispatcher):
        handle = await bench.begin()
        await dispatcher.gate.reached()
        await handle.signal(OneStep.cancel)
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
    assert isinstance(failure.value.cause, ActivityError)
    assert isinstance(failure.value.cause.cause, CancelledError)
    assert await bench.saved(handle) == []
    assert bench.model.journal == []


async def test_a_stopping_worker_saves_no_partial_reply_and_another_repeats_the_call(bench: Bench) -> None:
    bench.model.script(TextReply(REPLY, gate=(gate := Gate())), TextReply("At nine."))
    async with working(bench):
        handle = await bench.begin()
        await gate.reached()
    await bench.model.journal[0].hung_up()
    assert await bench.saved(handle) == []
    async with working(bench):
        reply = await reply_of(handle)
    assert (reply.text, reply.interrupted, reply.estimated) == ("At nine.", False, False)
    assert await bench.saved(handle) == [reply]


async def test_a_complete_reply_is_saved_although_it_is_cancelled_while_the_store_is_down(
    bench: Bench, breakable: BreakableDatabase
) -> None:
    bench.model.script(TextReply("At nine.", gate=(gate := Gate())))
    async with working(bench, database=breakable):
        handle = await bench.begin()
        await gate.reached()
        breakable.down = True
        gate.open()
        await eventually(breakable.has_refused)
        await handle.signal(OneStep.cancel)
        await eventually(is_cancelled(handle))
        breakable.down = False
        reply = await reply_of(handle)
    assert (reply.text, reply.interrupted) == ("At nine.", False)
    assert await bench.saved(handle) == [reply]


async def test_a_cancelled_extraction_is_billed(bench: Bench) -> None:
    bench.model.script(NoReply())
    async with working(bench):
        handle = await bench.begin(kind="variables")
        await eventually(has_request(bench.model))
        await handle.signal(OneStep.cancel)
        await bench.model.journal[0].hung_up()
        extracted = ExtractionResult.model_validate_json(await handle.result())
    assert (extracted.values, extracted.error) == ({}, "The model call was cancelled.")
    assert extracted.usage.total_tokens > 0
    [saved] = await bench.saved(handle)
    assert (saved.interrupted, saved.usage) == (True, extracted.usage)


class HeldDispatcher:
    """A tool dispatcher without tools, whose response the test holds back."""

    def __init__(self) -> None:
        self.gate = Gate()

    async def list_tools(
        self,
        organization_id: str,
        tools: Mapping[str, AnyTool],
        names: Iterable[str],
        context: Mapping[str, JsonValue],
    ) -> tuple[OfferedTool, ...]:
        """Nothing, once the gate is open."""
        await self.gate.passed()
        return ()


def has_request(model: ScriptedModel) -> Callable[[], Awaitable[bool]]:
    """True once the provider has a request."""

    async def asked() -> bool:
        return bool(model.journal)

    return asked


def is_cancelled(handle: WorkflowHandle[Any, Any]) -> Callable[[], Awaitable[bool]]:
    """True once the cancellation of the step has reached the server."""

    async def cancelled() -> bool:
        history = await handle.fetch_history()
        return any(event.HasField("activity_task_cancel_requested_event_attributes") for event in history.events)

    return cancelled
