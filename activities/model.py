"""Model calls of a turn as activities, each paid for at most once however often the activity runs."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.charge_once import IdempotentCaller, is_cancel_requested
from activities.earlier_messages import EarlierMessages, NewPart
from activities.llm.interface import ModelAnswer, ModelCall, ModelCaller, OnDelta, RecordCall, ignore_delta
from activities.llm.metrics import FirstWord, framed, timed
from activities.llm.reply_stream import NullPublisher, ReplyPublisher, stream_context_of
from activities.settlement import Recorder
from contracts.caller import GeneratedLine, NextLine, PlayCallerInput, PlayCallerResult
from contracts.sessions import GenerateStepInput, GenerateStepResult
from domain.agents.definition import AgentDefinition
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.tools import AnyTool, OfferedTool
from domain.turns.context_window import context_limit
from domain.turns.engine import ExtractionResult, ModelReply, marked_instructions_at
from domain.turns.extraction import (
    EXTRACTION_CUE,
    RECORD_TOOL,
    RECORD_TOOL_DESCRIPTION,
    extracted_values,
    extraction_instructions,
    extraction_schema,
)
from domain.turns.model_request import (
    RequestFrame,
    frame_of_extraction,
    frame_of_turn,
    messages_to_send,
    transitions_offered,
)
from domain.turns.summaries import with_summary

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


class SimulatedUserModel(Protocol):
    """Plays simulated users."""

    async def play(self, input: PlayCallerInput) -> PlayCallerResult:
        """Generate the simulated user's next message or hang up; a retry reuses the stored reply."""
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
        max_context_tokens: int,
        recorder: Recorder,
        player: SimulatedUserModel,
        publisher: ReplyPublisher | None = None,
    ) -> None:
        self._recorder = recorder
        self._player = player
        self._dispatcher = dispatcher
        self._publisher = publisher or NullPublisher()
        self._idempotent_caller = IdempotentCaller(steps=steps)
        self._agents = agents
        self._caller = caller
        self._max_context_tokens = max_context_tokens

    @activity.defn
    async def generate_step(self, input: GenerateStepInput) -> GenerateStepResult:
        """Generate the reply of one step, or return the stored one; meanwhile settle the record that came with it.

        A simulated user's next message is generated as well, if it is requested and the reply is plain text.
        Raises a non-retryable ApplicationError of type `model_failed` when the provider rejects the request or has
        failed too often; Temporal retries every other error. When the workflow cancels the activity, the partial
        reply is saved and returned, marked `interrupted`; without a request to the provider the activity is cancelled.
        """

        async def call_model(earlier: EarlierMessages) -> ModelAnswer:
            return await self._generate(input, earlier)

        async with self._recorder.settled_beside(input.record) as record:
            stored = await self._idempotent_caller.call(input, call_model)
        result = GenerateStepResult(
            reply=stored.reply,
            reused=stored.reused,
            watched=self._publisher.has_subscribers(input.session_id),
            record=record.state,
        )
        # The reply is paid for: it is returned even if the rest fails or the activity is cancelled.
        try:
            due = await stored.earlier.due_summary() if stored.earlier else None
            line = await self._generate_line(input.next_line, stored.reply) if input.next_line else None
        except asyncio.CancelledError:
            if not is_cancel_requested():
                raise
            return result
        return result.model_copy(update={"summarize": due, "line": line})

    async def _generate_line(self, next_line: NextLine, reply: ModelReply) -> GeneratedLine | None:
        """The simulated user's answer to a reply. None if it is not due or fails: the workflow then requests one."""
        is_plain = bool(reply.text.strip()) and not reply.tool_calls and not reply.interrupted
        is_affordable = next_line.cost_left is None or reply.cost.total < next_line.cost_left
        if not (is_plain and is_affordable):
            return None
        asked, began = next_line.after(reply.text), monotonic()
        try:
            result = await self._player.play(asked)
        except ApplicationError:
            return None
        seconds = round(monotonic() - began, 3)
        return GeneratedLine(call_id=asked.call_id, digest=asked.digest, result=result, seconds=seconds)

    @activity.defn
    async def extract_variables(self, input: GenerateStepInput) -> ExtractionResult:
        """Extract a node's variables from the conversation, with one model call stored and billed like any step."""

        async def call_model(earlier: EarlierMessages) -> ModelAnswer:
            return await self._extract(input, earlier)

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

    async def _generate(self, input: GenerateStepInput, earlier: EarlierMessages) -> ModelAnswer:
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        node = definition.nodes[input.node_id]
        instructions, insertions = marked_instructions_at(definition, input.node_id, input.context)
        offered = [name for name in node.tools if name not in input.withheld]
        tools = await self._dispatcher.list_tools(input.organization_id, definition.tools, offered, input.context)
        call = ModelCall(
            model=input.model,
            instructions=instructions,
            history=(),
            messages=input.messages,
            tools=(*transitions_offered(node), *tools),
            timeout=input.timeout,
            reply_format=input.reply_format if node.keeps_reply_format else None,
        )
        settings: dict[str, JsonValue] = {"timeout": call.timeout}
        if call.reply_format is not None:
            settings["reply_format"] = call.reply_format.model_dump(mode="json")
        frame = frame_of_turn(node, (instructions, insertions), call.tools, settings)

        async def count(history: tuple[str, ...]) -> int | None:
            return await self._caller.count_tokens(replace(call, history=history))

        new = NewPart(frame, messages_to_send(input.messages))
        limit = self._limit(definition, input.model)
        history = await earlier.fit(new, limit, count, compacts=definition.compaction is not None)
        frame = with_summary(frame, earlier.summary)
        call = replace(call, history=history, instructions=frame.instructions)
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
        answer = first_word.noted(timed(self._caller.call(call, first_word.pass_on), input.price_per_second))
        return await framed(answer, frame, new=len(input.messages))

    async def _extract(self, input: GenerateStepInput, earlier: EarlierMessages) -> ModelAnswer:
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        node = definition.nodes[input.node_id]
        call = RecordCall(
            model=input.model,
            instructions=extraction_instructions(node, input.context),
            history=(),
            asked=EXTRACTION_CUE,
            tool=RECORD_TOOL,
            description=RECORD_TOOL_DESCRIPTION,
            schema=extraction_schema(node.extract, input.context),
            timeout=input.timeout,
        )
        tool = OfferedTool(name=call.tool, description=call.description, parameters=call.schema)
        frame = frame_of_extraction(call.instructions, call.asked, tool, {"timeout": call.timeout})
        limit = self._limit(definition, input.model)
        history = await earlier.fit(NewPart(frame), limit, compacts=definition.compaction is not None)
        frame = with_summary(frame, earlier.summary)
        call = replace(call, history=history, instructions=frame.instructions)
        return await framed(timed(self._caller.record(call), input.price_per_second), frame)

    def _limit(self, definition: AgentDefinition, model: str) -> int:
        """The tokens that a request of this agent may have."""
        own = definition.max_context_tokens
        return context_limit(own, self._max_context_tokens, self._caller.context_window(model))
