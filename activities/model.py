"""One step of a turn: a model call that is bought once, however often the activity runs."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue
from temporalio import activity

from activities.charge_once import IdempotentCaller
from activities.llm.interface import ModelAnswer, ModelCall, ModelCaller, RecordCall
from activities.llm.metrics import timed
from activities.llm.reply_stream import NullPublisher, ReplyPublisher, stream_context_of
from contracts.sessions import GenerateStepInput, GenerateStepResult
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.tools import HttpTool, McpTool, OfferedTool
from domain.turns.engine import ExtractionResult, instructions_at
from domain.turns.extraction import (
    EXTRACTION_CUE,
    EXTRACTION_INSTRUCTIONS,
    RECORD_TOOL,
    extracted_values,
    extraction_schema,
)

if TYPE_CHECKING:
    from store.agents import AgentStore
    from store.sessions.steps import StepStore

NO_ARGUMENTS: dict[str, JsonValue] = {"type": "object", "properties": {}}
"""The JSON schema of a transition's arguments."""
UNREADABLE = {False: "The model recorded nothing that can be read.", True: "The model call was cancelled."}
"""Why there are no variables, by whether the call was interrupted."""


class ToolLister(Protocol):
    """What the model is offered for the tools of a node: an MCP server has to be asked."""

    async def offered(
        self,
        organization_id: str,
        tools: Mapping[str, HttpTool | McpTool],
        names: Iterable[str],
        context: Mapping[str, JsonValue],
    ) -> tuple[OfferedTool, ...]:
        """The named tools. A server that cannot be asked offers nothing."""
        ...


class ModelActivities:
    """Buys model replies: looks up what was bought before, and saves what it buys before it reports back."""

    def __init__(
        self,
        *,
        steps: "StepStore",
        agents: "AgentStore",
        caller: ModelCaller,
        toolbox: ToolLister,
        context_characters: int,
        narrator: ReplyPublisher | None = None,
    ) -> None:
        self._toolbox = toolbox
        self._narrator = narrator or NullPublisher()
        self._buyer = IdempotentCaller(steps=steps, context_characters=context_characters)
        self._agents = agents
        self._caller = caller

    @activity.defn
    async def generate_step(self, input: GenerateStepInput) -> GenerateStepResult:
        """Answer one step, from the store if it has been bought before.

        Fails for good, with type `model_failed`, when the provider refuses the request or has failed
        too often; everything else is retried by Temporal. Cancelled by its workflow, it saves and returns what
        the model has said so far, marked `interrupted`; it ends as cancelled when nothing had been asked.
        """

        async def ask(history: tuple[str, ...]) -> ModelAnswer:
            return await self._generate(input, history)

        bought = await self._buyer.once(input, ask)
        watched = self._narrator.is_heard(input.session_id)
        return GenerateStepResult(reply=bought.reply, reused=bought.reused, watched=watched)

    @activity.defn
    async def extract_variables(self, input: GenerateStepInput) -> ExtractionResult:
        """Read the variables of a node from the conversation, with one model call that is bought like any step."""

        async def ask(history: tuple[str, ...]) -> ModelAnswer:
            return await self._extract(input, history)

        bought = (await self._buyer.once(input, ask)).reply
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        recorded = next((call.arguments for call in bought.tool_calls if call.name == RECORD_TOOL), None)
        is_readable = recorded is not None and recorded.keys() != {UNPARSED_ARGUMENTS}
        return ExtractionResult(
            values=extracted_values(definition.nodes[input.node_id].extract, recorded or {}),
            error=None if is_readable else UNREADABLE[bought.interrupted],
            usage=bought.usage,
            cost=bought.cost,
        )

    async def _generate(self, input: GenerateStepInput, history: tuple[str, ...]) -> ModelAnswer:
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        node = definition.nodes[input.node_id]
        ways_out = (
            OfferedTool(name=each.tool_name, description=each.when, parameters=NO_ARGUMENTS)
            for each in node.transitions
        )
        call = ModelCall(
            model=input.model,
            instructions=instructions_at(definition, input.node_id, input.context),
            history=history,
            messages=input.messages,
            tools=(
                *ways_out,
                *await self._toolbox.offered(input.organization_id, definition.tools, node.tools, input.context),
            ),
            timeout=input.timeout,
        )
        if input.opening is None:
            return await timed(self._caller.call(call), input.price_per_second)
        async with self._narrator.narrate(stream_context_of(input, input.opening, activity.info().attempt)) as hear:
            return await timed(self._caller.call(call, hear), input.price_per_second)

    async def _extract(self, input: GenerateStepInput, history: tuple[str, ...]) -> ModelAnswer:
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        call = RecordCall(
            model=input.model,
            instructions=EXTRACTION_INSTRUCTIONS,
            history=history,
            asked=EXTRACTION_CUE,
            tool=RECORD_TOOL,
            description="Record what was found in the conversation.",
            schema=extraction_schema(definition.nodes[input.node_id].extract),
            timeout=input.timeout,
        )
        return await timed(self._caller.record(call), input.price_per_second)
