"""Model calls of a turn as activities, each paid for at most once however often the activity runs."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue
from temporalio import activity

from activities.charge_once import IdempotentCaller
from activities.llm.interface import ModelAnswer, ModelCall, ModelCaller, OnDelta, RecordCall, ignore_delta
from activities.llm.metrics import FirstWord, framed, timed
from activities.llm.reply_stream import NullPublisher, ReplyPublisher, stream_context_of
from activities.settlement import Recorder, TravellingRecord
from contracts.sessions import GenerateStepInput, GenerateStepResult
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.tools import AnyTool, OfferedTool
from domain.turns.engine import ExtractionResult, marked_instructions_at
from domain.turns.extraction import (
    EXTRACTION_CUE,
    RECORD_TOOL,
    RECORD_TOOL_DESCRIPTION,
    extracted_values,
    extraction_instructions,
    extraction_schema,
)
from domain.turns.model_request import RequestFrame, frame_of_extraction, frame_of_turn, transitions_offered

if TYPE_CHECKING:
    from store.agents import AgentStore
    from store.sessions.steps import StepStore

EXTRACTION_ERRORS = {False: "The model recorded nothing that can be read.", True: "The model call was cancelled."}
"""Error of an extraction without variables, by whether the call was interrupted."""


class ToolLister(Protocol):
    """Lists the tools that the model may call at a node; those of MCP servers come from the servers."""

    async def list_tools(
        self,
        organization_id: str,
        tools: Mapping[str, AnyTool],
        names: Iterable[str],
        context: Mapping[str, JsonValue],
    ) -> tuple[OfferedTool, ...]:
        """The named tools, as offered to the model. An unreachable server contributes none."""
        ...


class ModelActivities:
    """Generates replies and extracts variables; each reply is saved before the activity completes."""

    def __init__(
        self,
        *,
        steps: "StepStore",
        agents: "AgentStore",
        caller: ModelCaller,
        dispatcher: ToolLister,
        context_characters: int,
        recorder: Recorder,
        publisher: ReplyPublisher | None = None,
    ) -> None:
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._publisher = publisher or NullPublisher()
        self._idempotent_caller = IdempotentCaller(steps=steps, context_characters=context_characters)
        self._agents = agents
        self._caller = caller

    @activity.defn
    async def generate_step(self, input: GenerateStepInput) -> GenerateStepResult:
        """Generate the reply of one step, or return the stored one; settle what the session had not settled.

        Raises a non-retryable ApplicationError of type `model_failed` when the provider rejects the request or has
        failed too often; Temporal retries every other error. When the workflow cancels the activity, the partial
        reply is saved and returned, marked `interrupted`; without a request to the provider the activity is cancelled.
        """

        async def call_model(history: tuple[str, ...]) -> ModelAnswer:
            return await self._generate(input, history)

        record = TravellingRecord(self._recorder, input.record)
        stored = await self._idempotent_caller.call(input, call_model, record)
        watched = self._publisher.has_subscribers(input.session_id)
        return GenerateStepResult(reply=stored.reply, reused=stored.reused, watched=watched, record=record.state)

    @activity.defn
    async def extract_variables(self, input: GenerateStepInput) -> ExtractionResult:
        """Extract a node's variables from the conversation, with one model call stored and billed like any step."""

        async def call_model(history: tuple[str, ...]) -> ModelAnswer:
            return await self._extract(input, history)

        stored = (await self._idempotent_caller.call(input, call_model)).reply
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        recorded = next((call.arguments for call in stored.tool_calls if call.name == RECORD_TOOL), None)
        is_readable = recorded is not None and recorded.keys() != {UNPARSED_ARGUMENTS}
        return ExtractionResult(
            values=extracted_values(definition.nodes[input.node_id].extract, recorded or {}),
            error=None if is_readable else EXTRACTION_ERRORS[stored.interrupted],
            usage=stored.usage,
            cost=stored.cost,
        )

    async def _generate(self, input: GenerateStepInput, history: tuple[str, ...]) -> ModelAnswer:
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        node = definition.nodes[input.node_id]
        instructions, insertions = marked_instructions_at(definition, input.node_id, input.context)
        offered = [name for name in node.tools if name not in input.withheld]
        tools = await self._dispatcher.list_tools(input.organization_id, definition.tools, offered, input.context)
        call = ModelCall(
            model=input.model,
            instructions=instructions,
            history=history,
            messages=input.messages,
            tools=(*transitions_offered(node), *tools),
            timeout=input.timeout,
            reply_format=input.reply_format if node.keeps_reply_format else None,
        )
        settings: dict[str, JsonValue] = {"timeout": call.timeout}
        if call.reply_format is not None:
            settings["reply_format"] = call.reply_format.model_dump(mode="json")
        frame = frame_of_turn(node, (instructions, insertions), call.tools, settings)
        if input.opening is None:
            return await self._timed(call, input, frame)
        context = stream_context_of(
            input,
            input.opening,
            activity.info().attempt,
            saved=history,
            hides_recordings=definition.has_recordings,
        )
        async with self._publisher.publish(context) as on_delta:
            return await self._timed(call, input, frame, on_delta)

    async def _timed(
        self, call: ModelCall, input: GenerateStepInput, frame: RequestFrame, on_delta: OnDelta = ignore_delta
    ) -> ModelAnswer:
        first_word = FirstWord(on_delta)
        answer = first_word.noted(timed(self._caller.call(call, first_word.heard), input.price_per_second))
        return await framed(answer, frame, new=len(input.messages))

    async def _extract(self, input: GenerateStepInput, history: tuple[str, ...]) -> ModelAnswer:
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        node = definition.nodes[input.node_id]
        call = RecordCall(
            model=input.model,
            instructions=extraction_instructions(node, input.context),
            history=history,
            asked=EXTRACTION_CUE,
            tool=RECORD_TOOL,
            description=RECORD_TOOL_DESCRIPTION,
            schema=extraction_schema(node.extract, input.context),
            timeout=input.timeout,
        )
        tool = OfferedTool(name=call.tool, description=call.description, parameters=call.schema)
        frame = frame_of_extraction(call.instructions, call.asked, tool, {"timeout": call.timeout})
        return await framed(timed(self._caller.record(call), input.price_per_second), frame)
