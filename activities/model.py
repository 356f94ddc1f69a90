"""One step of a turn: a model call that is bought once, however often the activity runs."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import JsonValue
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from domain.agent import AgentDefinition
from domain.agent_names import UNPARSED
from domain.agent_tools import HttpTool, McpTool, OfferedTool
from domain.contracts import GenerateStepInput, GenerateStepResult, StepHeartbeat
from domain.engine import Extracted, ModelReply, instructions_at
from domain.extraction import RECORD_TOOL, schema_of, values_of
from domain.turns import Message

if TYPE_CHECKING:
    from store.agents import AgentStore
    from store.steps import SavedStep, StepStore

NO_ARGUMENTS: dict[str, JsonValue] = {"type": "object", "properties": {}}
"""The JSON schema of a transition's arguments."""
MOST_PROVIDER_FAILURES = 5
"""How often a provider may fail one step before the turn fails."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds that a provider may ask to be left alone; who asks for more is tried again after these."""
LONGEST_SAVE_PAUSE = 5.0
"""Seconds between two attempts to save a reply that has been paid for."""
UNREADABLE = {False: "The model recorded nothing that can be read.", True: "The model call was cancelled."}
"""Why there are no variables, by whether the call was interrupted."""


@dataclass(frozen=True)
class ModelCall:
    """What a model is asked: the node's instructions, the branch so far, what is new, and the ways out."""

    model: str
    instructions: str
    history: tuple[str, ...]
    """Messages of earlier steps, oldest first, each as the provider edge serialised it."""
    messages: tuple[Message, ...]
    tools: tuple[OfferedTool, ...]
    """The ways out of the node, which take no arguments, and the tools it offers."""
    timeout: float
    """Seconds the whole reply may take."""


@dataclass(frozen=True)
class ExtractionCall:
    """What a model is asked to read from a conversation, as a JSON schema of the object it is to hand in."""

    model: str
    history: tuple[str, ...]
    schema: dict[str, JsonValue]
    timeout: float


@dataclass(frozen=True)
class ModelAnswer:
    """What came back, and the messages of this call as the provider edge wants to read them again."""

    reply: ModelReply
    messages: str


class ModelCaller(Protocol):
    """The edge to the providers: one call, one answer, no retries.

    A call that is cancelled closes its connection at once. It raises `CutShort` if the provider had been asked.
    """

    async def call(self, call: ModelCall) -> ModelAnswer:
        """Ask the model. Raises `ProviderFailed`."""
        ...

    async def extract(self, call: ExtractionCall) -> ModelAnswer:
        """Ask the model for structured data: one tool call in the reply. Raises `ProviderFailed`."""
        ...


class ToolLister(Protocol):
    """What the model is offered for the tools of a node: an MCP server has to be asked."""

    async def offered(
        self, tools: Mapping[str, HttpTool | McpTool], names: Iterable[str], context: Mapping[str, JsonValue]
    ) -> tuple[OfferedTool, ...]:
        """The named tools. A server that cannot be asked offers nothing."""
        ...


class ProviderFailed(Exception):
    """A provider did not answer, or not usefully. `retry_after` is in seconds, when the provider named a time."""

    def __init__(self, message: str, *, permanent: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


class CutShort(asyncio.CancelledError):
    """A call was cancelled after the provider had been asked. `answer` is what was said and spent until then."""

    def __init__(self, answer: ModelAnswer) -> None:
        super().__init__("the model call was cancelled")
        self.answer = answer


Ask = Callable[[GenerateStepInput, AgentDefinition, tuple[str, ...]], Awaitable[ModelAnswer]]


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
    ) -> None:
        self._toolbox = toolbox
        self._steps = steps
        self._agents = agents
        self._caller = caller
        self._context_characters = context_characters

    @activity.defn
    async def generate_step(self, input: GenerateStepInput) -> GenerateStepResult:
        """Answer one step, from the store if it has been bought before.

        Fails for good, with type `model_failed`, when the provider refuses the request or has failed
        too often; everything else is retried by Temporal. Cancelled by its workflow, it saves and returns what
        the model has said so far, marked `interrupted`; it ends as cancelled when nothing had been asked.
        """
        return await self._once(input, self._generate)

    @activity.defn
    async def extract_variables(self, input: GenerateStepInput) -> Extracted:
        """Read the variables of a node from the conversation, with one model call that is bought like any step."""
        bought = (await self._once(input, self._extract)).reply
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        recorded = next((call.arguments for call in bought.tool_calls if call.name == RECORD_TOOL), None)
        is_readable = recorded is not None and recorded.keys() != {UNPARSED}
        return Extracted(
            values=values_of(definition.nodes[input.node_id].extract, recorded or {}),
            error=None if is_readable else UNREADABLE[bought.interrupted],
            usage=bought.usage,
            cost=bought.cost,
        )

    async def _once(self, input: GenerateStepInput, ask: Ask) -> GenerateStepResult:
        """Buy a step, unless it was bought before; it is saved before anybody hears of it."""
        done = await self._steps.turn_steps(input.session_id, input.turn_id, input.anchor_turn_id)
        for saved in done:
            if saved.step == input.step:
                return GenerateStepResult(reply=saved.reply, reused=True)
        async with heartbeats(StepHeartbeat(provider_failures=_provider_failures())):
            definition = await self._agents.definition(input.agent.id, input.agent.version)
            history = await self._steps.history(input.session_id, input.anchor_turn_id, self._context_characters)
            try:
                answer = await ask(input, definition, tuple(step.messages for step in (*history, *done)))
            except ProviderFailed as failure:
                raise _as_activity_failure(failure) from failure
            except CutShort as cut:
                if not _is_cancelled_by_its_workflow():
                    raise
                answer = cut.answer
            saved = await _despite_cancellation(self._save(input, answer))
        return GenerateStepResult(reply=saved.reply)

    async def _generate(
        self, input: GenerateStepInput, definition: AgentDefinition, history: tuple[str, ...]
    ) -> ModelAnswer:
        node = definition.nodes[input.node_id]
        ways_out = (
            OfferedTool(name=each.tool_name, description=each.when, parameters=NO_ARGUMENTS)
            for each in node.transitions
        )
        return await self._caller.call(
            ModelCall(
                model=input.model,
                instructions=instructions_at(definition, input.node_id, input.context),
                history=history,
                messages=input.messages,
                tools=(*ways_out, *await self._toolbox.offered(definition.tools, node.tools, input.context)),
                timeout=input.timeout,
            )
        )

    async def _extract(
        self, input: GenerateStepInput, definition: AgentDefinition, history: tuple[str, ...]
    ) -> ModelAnswer:
        schema = schema_of(definition.nodes[input.node_id].extract)
        return await self._caller.extract(
            ExtractionCall(model=input.model, history=history, schema=schema, timeout=input.timeout)
        )

    async def _save(self, input: GenerateStepInput, answer: ModelAnswer) -> "SavedStep":
        """Save a reply that has been paid for; a store that is down is waited for rather than paid for again."""
        bought_at = datetime.now(UTC)
        pause = 0.1
        while True:
            try:
                return await self._steps.save(
                    session_id=input.session_id,
                    organization_id=input.organization_id,
                    turn_id=input.turn_id,
                    step=input.step,
                    anchor_turn_id=input.anchor_turn_id,
                    node_id=input.node_id,
                    model=input.model,
                    messages=answer.messages,
                    reply=answer.reply,
                    created_at=bought_at,
                )
            except Exception:
                activity.logger.warning("a paid reply could not be saved yet; trying again", exc_info=True)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_SAVE_PAUSE)


async def _despite_cancellation(saving: Coroutine[Any, Any, "SavedStep"]) -> "SavedStep":
    """Save what was paid for, also when its workflow no longer waits for it; only the worker's end ends this."""
    task = asyncio.create_task(saving)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not _is_cancelled_by_its_workflow():
                task.cancel()
                raise
    return task.result()


def _is_cancelled_by_its_workflow() -> bool:
    """Whether the answer is unwanted. Else the worker stops or another attempt has begun, and the call is made anew."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


def _as_activity_failure(failure: ProviderFailed) -> ApplicationError:
    """Count the provider's failures across attempts, and give up for good after the last one."""
    failures = _provider_failures() + 1
    activity.heartbeat(StepHeartbeat(provider_failures=failures))
    final = failure.permanent or failures >= MOST_PROVIDER_FAILURES
    pause = timedelta(seconds=min(failure.retry_after, LONGEST_RETRY_AFTER)) if failure.retry_after else None
    return ApplicationError(
        str(failure), type="model_failed", non_retryable=final, next_retry_delay=None if final else pause
    )


def _provider_failures() -> int:
    details = activity.info().heartbeat_details
    return StepHeartbeat.model_validate(details[0]).provider_failures if details else 0
