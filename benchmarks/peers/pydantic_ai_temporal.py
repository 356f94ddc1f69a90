"""pydantic-ai's TemporalAgent: each model call and each tool call is an activity with the messages as its input."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.peers.interface import INSTRUCTIONS, MESSAGE, MODEL, REPLY, TOOL_DESCRIPTION, Peer, Settings
from benchmarks.peers.temporal_peer import TASK_QUEUE, TemporalPeer

with workflow.unsafe.imports_passed_through():
    import httpx2
    from pydantic_ai import Agent
    from pydantic_ai.durable_exec.temporal import AgentPlugin, PydanticAIPlugin, TemporalAgent
    from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart

    SETTINGS = Settings.read()

DISTRIBUTIONS = ("pydantic-ai-slim", "temporalio", "openai")

agent: Agent[None, str] = Agent(f"openai-chat:{MODEL}", instructions=INSTRUCTIONS, name="peer")

if SETTINGS.with_tool:

    @agent.tool_plain(description=TOOL_DESCRIPTION)
    async def look_up(thing: str) -> str:
        """Ask for the price."""
        async with httpx2.AsyncClient() as http:
            return (await http.post(SETTINGS.tool_url, json={"thing": thing})).text


limits = workflow.ActivityConfig(start_to_close_timeout=timedelta(seconds=float(SETTINGS.model_seconds or 60)))
if SETTINGS.heartbeat_seconds:
    limits["heartbeat_timeout"] = timedelta(seconds=float(SETTINGS.heartbeat_seconds))

with warnings.catch_warnings(action="ignore"):  # its successor, TemporalDurability, makes the same activities
    durable = TemporalAgent(agent, model_activity_config=limits)


@workflow.defn(name="PydanticAIConversation")
class Conversation:
    """One conversation."""

    @workflow.init
    def __init__(self, past: list[ModelMessage]) -> None:
        self._messages = past

    @workflow.run
    async def run(self, past: list[ModelMessage]) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def say(self, text: str) -> str:
        result = await durable.run(text, message_history=self._messages)
        self._messages = result.all_messages()
        return result.output


def _past(turns: int) -> list[ModelMessage]:
    request, response = ModelRequest([UserPromptPart(MESSAGE)]), ModelResponse([TextPart(REPLY)])
    return [message for _ in range(turns) for message in (request, response)]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Peer]:
    """A client and a worker, as the documentation makes them."""
    client = await Client.connect(settings.temporal_address, plugins=[PydanticAIPlugin()])
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Conversation], plugins=[AgentPlugin(durable)]):
        yield TemporalPeer(client, Conversation, _past)
