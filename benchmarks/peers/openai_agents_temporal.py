"""The OpenAI Agents SDK with Temporal's plugin: each model call is an activity with the messages as its input."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.peers.interface import INSTRUCTIONS, MESSAGE, MODEL, REPLY, TOOL, Peer, Settings
from benchmarks.peers.temporal_peer import TASK_QUEUE, TemporalPeer

with workflow.unsafe.imports_passed_through():
    import httpx2
    from agents import Agent, OpenAIProvider, Runner
    from temporalio.openai_agents import ModelActivityParameters, OpenAIAgentsPlugin
    from temporalio.openai_agents.workflow import activity_as_tool

    SETTINGS = Settings.read()

DISTRIBUTIONS = ("openai-agents", "temporalio-openai-agents", "temporalio", "openai")
Item = dict[str, Any]  # Any: the SDK's own input items


@activity.defn(name=TOOL)
async def look_up(thing: str) -> str:
    """Ask for the price."""
    async with httpx2.AsyncClient() as http:
        return (await http.post(SETTINGS.tool_url, json={"thing": thing})).text


@workflow.defn(name="OpenAIAgentsConversation")
class Conversation:
    """One conversation."""

    @workflow.init
    def __init__(self, past: list[Item]) -> None:
        tools = [activity_as_tool(look_up, start_to_close_timeout=timedelta(seconds=10))] if SETTINGS.with_tool else []
        self._agent = Agent(name="peer", instructions=INSTRUCTIONS, model=MODEL, tools=tools)
        self._items = past

    @workflow.run
    async def run(self, past: list[Item]) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def say(self, text: str) -> str:
        result = await Runner.run(self._agent, [*self._items, {"role": "user", "content": text}])
        self._items = result.to_input_list()
        return str(result.final_output)


def _past(turns: int) -> list[Item]:
    pair = ({"role": "user", "content": MESSAGE}, {"role": "assistant", "content": REPLY})
    return [item for _ in range(turns) for item in pair]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Peer]:
    """A client and a worker, as the documentation makes them."""
    heartbeat = timedelta(seconds=float(settings.heartbeat_seconds)) if settings.heartbeat_seconds else None
    plugin = OpenAIAgentsPlugin(
        model_params=ModelActivityParameters(
            start_to_close_timeout=timedelta(seconds=float(settings.model_seconds)), heartbeat_timeout=heartbeat
        ),
        model_provider=OpenAIProvider(use_responses=False),
    )
    client = await Client.connect(settings.temporal_address, plugins=[plugin])
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Conversation], activities=[look_up]):
        yield TemporalPeer(client, Conversation, _past)
