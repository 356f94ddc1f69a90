"""The engine of a turn, one step at a time: agent, progress and model reply give the new progress.

Nothing here calls a model or a tool. `begin_turn` starts a turn. The workflow then provides what `next_step` names,
until the turn is answered, ends the session or fails: a model reply for `apply_reply`, tool results for
`apply_tool_result`, the variables of a node for `apply_extraction`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from domain.agents.definition import AgentDefinition, Node, Transition
from domain.agents.templates import render
from domain.agents.tools import find_tool
from domain.durable import FrozenModel
from domain.turns.turn import AgentSaid, Checkpoint, EventType, Message, ToolReturned, TurnEvent, UserSaid
from domain.usage import Cost, Usage, merge_costs, merge_usage

MAX_BLANK_REPLIES = 3
"""How often in one turn a model may answer with neither text nor a tool call before the turn fails."""

STOPPED_CALL_MESSAGE = "The call was not made: the user stopped the reply."
"""What the model is told about a call that an interruption was quicker than."""

TurnOutcome = Literal["answered", "ended", "failed"]
NextStep = Literal["reply", "tools", "extraction"]


class ToolCall(FrozenModel):
    """A tool that the model asked for."""

    id: str
    name: str
    arguments: dict[str, JsonValue] = {}


class ModelReply(FrozenModel):
    """What one model call brought: text, tool calls or both, and what it used and cost.

    `interrupted` says that the call was cancelled: the text is what had been said until then. `estimated` says that
    the provider had not told what it used; it was worked out from what was sent and heard.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    cost: Cost = Cost()
    interrupted: bool = False
    estimated: bool = False


class ToolResult(FrozenModel):
    """What came of a tool call: what the model is told, an error code if it failed, and what joins the context."""

    content: str
    error: str | None = None
    assigned: dict[str, JsonValue] = {}


class ExtractionResult(FrozenModel):
    """What a model found out about a node's variables, or why it could not, and what it used and cost."""

    values: dict[str, JsonValue] = {}
    error: str | None = None
    usage: Usage = Usage()
    cost: Cost = Cost()


class TurnProgress(FrozenModel):
    """A turn that is being answered: where it stands and what was said, done and spent so far.

    `messages` are those the next step adds to the conversation; once the turn is over they are what
    the turn after it has to carry. `spoke` says that the model itself has said something, not only a transition.
    `calls` are tools still to be run, `leaving` the transition that is taken after them, and `extracting` says that
    the node's variables come first.
    """

    turn_id: str
    node_id: str
    gathered_context: dict[str, JsonValue] = {}
    anchor_turn_id: str | None = None
    messages: tuple[Message, ...] = ()
    said: tuple[str, ...] = ()
    events: tuple[TurnEvent, ...] = ()
    usage: Usage = Usage()
    cost: Cost = Cost()
    steps: int = 0
    spoke: bool = False
    blank_replies: int = 0
    calls: tuple[ToolCall, ...] = ()
    leaving: ToolCall | None = None
    extracting: bool = False
    outcome: TurnOutcome | None = None
    error: str | None = None

    @property
    def next_step(self) -> NextStep | None:
        """What the turn needs before it can go on; none when it is over."""
        if self.outcome is not None:
            return None
        if self.calls:
            return "tools"
        return "extraction" if self.extracting else "reply"

    @property
    def text(self) -> str:
        return "\n".join(self.said)

    def checkpoint(self) -> Checkpoint:
        """What the turn after this one continues from."""
        return Checkpoint(
            node_id=self.node_id,
            gathered_context=self.gathered_context,
            anchor_turn_id=self.turn_id if self.steps else self.anchor_turn_id,
            carry=self.messages,
        )

    def stopped(self, *, at: datetime) -> "TurnProgress":
        """The same progress, given up on the way. Calls that nothing will come of are answered: models insist on it."""
        left = self._with(calls=(), leaving=None, extracting=False)
        for call in (*self.calls, *([self.leaving] if self.leaving else [])):
            left = _with_tool_result(left, call, STOPPED_CALL_MESSAGE)._happened(
                "tool_call_result",
                at,
                call_id=call.id,
                name=call.name,
                error="interrupted",
                result=STOPPED_CALL_MESSAGE,
            )
        return left

    def failed(self, error: str) -> "TurnProgress":
        """The same progress, given up with an error that a person can read."""
        return self._with(outcome="failed", error=error)

    def _with(self, **changes: object) -> "TurnProgress":
        return self.model_copy(update=changes)

    def _happened(self, kind: EventType, at: datetime, **payload: JsonValue) -> "TurnProgress":
        event = TurnEvent(type=kind, created_at=at, payload=payload)
        return self._with(events=(*self.events, event))


def start_checkpoint(agent: AgentDefinition) -> Checkpoint:
    """What the first turn of a session continues from: the start node, nothing gathered, nothing said."""
    return Checkpoint(node_id=agent.start, entered=False)


def template_values(
    agent: AgentDefinition,
    initial_context: Mapping[str, JsonValue],
    gathered_context: Mapping[str, JsonValue],
) -> dict[str, JsonValue]:
    """The values that templates see: the agent's defaults, then what the session began with, then what it learned."""
    known = {name: value for name, value in initial_context.items() if value is not None}
    return {**agent.context, **known, **gathered_context}


def instructions_at(agent: AgentDefinition, node_id: str, values: Mapping[str, JsonValue]) -> str:
    """What the model is told at a node: the agent's prompt, unless the node goes without it, then the node's."""
    node = agent.nodes[node_id]
    prompts = (agent.prompt if node.use_global_prompt else "", node.prompt)
    return "\n\n".join(render(prompt, values) for prompt in prompts if prompt.strip())


def begin_turn(
    agent: AgentDefinition,
    checkpoint: Checkpoint,
    *,
    turn_id: str,
    user_text: str | None,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    """Start to answer a turn.

    A turn without a user message opens the conversation: the node's greeting is said as it stands,
    without a model call; a node without a greeting, or with one that says nothing once its variables
    are filled in, leaves the opening to the model.
    """
    progress = TurnProgress(
        turn_id=turn_id,
        node_id=checkpoint.node_id,
        gathered_context=checkpoint.gathered_context,
        anchor_turn_id=checkpoint.anchor_turn_id,
        messages=checkpoint.carry,
    )
    if not checkpoint.entered:
        progress = progress._happened("node_transition", at, from_node=None, to_node=checkpoint.node_id)
    if user_text is not None:
        return progress._with(messages=(*progress.messages, UserSaid(text=user_text)))
    return _greet(agent, progress, initial_context)


def apply_reply(
    agent: AgentDefinition,
    progress: TurnProgress,
    reply: ModelReply,
    *,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    """Take one model reply into the turn.

    Text is kept. A transition moves the node and the model goes on there, in the same turn. A tool
    that does not exist is answered with the list of those that do. Text without tool calls ends the
    turn, and on an end node the session. After an interrupted reply the turn is left where it was.
    """
    progress = progress._with(
        steps=progress.steps + 1,
        usage=merge_usage([progress.usage, reply.usage]),
        cost=merge_costs([progress.cost, reply.cost]),
        said=(*progress.said, reply.text) if reply.text.strip() else progress.said,
        spoke=progress.spoke or bool(reply.text.strip()),
        messages=(),
    )
    if reply.interrupted:
        return progress
    if reply.tool_calls:
        progress = _apply_tool_calls(agent, progress, reply.tool_calls, at)
        progress = _continue(agent, progress, at, initial_context)
    elif progress.spoke:
        progress = _answered(agent, progress)
    else:
        progress = _apply_blank_reply(agent, progress)
    return _enforce_step_limit(agent, progress)


def apply_tool_result(
    agent: AgentDefinition,
    progress: TurnProgress,
    call: ToolCall,
    result: ToolResult,
    *,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    """Take the result of a tool into the turn; after the last one a transition that waited is taken."""
    payload: dict[str, JsonValue] = {"call_id": call.id, "name": call.name, "result": result.content}
    if result.error:
        payload["error"] = result.error
    taken = _with_tool_result(progress, call, result.content)._happened("tool_call_result", at, **payload)
    place = taken.calls.index(call)
    taken = taken._with(
        calls=(*taken.calls[:place], *taken.calls[place + 1 :]),
        gathered_context={**taken.gathered_context, **result.assigned},
    )
    return _continue(agent, taken, at, initial_context)


def apply_extraction(
    agent: AgentDefinition,
    progress: TurnProgress,
    extraction: ExtractionResult,
    *,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    """Take a node's variables into the turn. An extraction that failed is noted, and the conversation goes on."""
    payload: dict[str, JsonValue] = {"node": progress.node_id, "variables": extraction.values}
    if extraction.error:
        payload["error"] = extraction.error
    learned = progress._with(
        steps=progress.steps + 1,
        usage=merge_usage([progress.usage, extraction.usage]),
        cost=merge_costs([progress.cost, extraction.cost]),
        gathered_context={**progress.gathered_context, **extraction.values},
        extracting=False,
    )._happened("variables_extracted", at, **payload)
    if learned.leaving is None:
        return learned._with(outcome="ended")
    return _enforce_step_limit(agent, _take_transition(agent, learned, learned.leaving, at, initial_context))


def defer_extraction(progress: TurnProgress) -> TurnProgress:
    """End a turn at an end node with its goodbye, without the node's variables: they are read once it has been said."""
    return progress._with(extracting=False, outcome="ended")


def _enforce_step_limit(agent: AgentDefinition, progress: TurnProgress) -> TurnProgress:
    """Give the turn up once it may not ask for another reply. Variables are read all the same: they lead to none."""
    limit = agent.limits.max_steps_per_turn
    if progress.next_step not in ("reply", "tools") or progress.steps < limit:
        return progress
    return progress.failed(
        f"The turn took {limit} model calls without coming to an answer. "
        "Raise limits.max_steps_per_turn, or look for transitions that lead in a circle."
    )


def _apply_tool_calls(
    agent: AgentDefinition, progress: TurnProgress, calls: tuple[ToolCall, ...], at: datetime
) -> TurnProgress:
    """Sort what the model called: tools to run, one transition to take after them, and what does not exist."""
    node = agent.nodes[progress.node_id]
    for call in calls:
        progress = progress._happened(
            "tool_call_started", at, call_id=call.id, name=call.name, arguments=call.arguments
        )
        if _transition_named(node, call.name) is None:
            known = is_offered(agent, progress.node_id, call.name)
            progress = (
                progress._with(calls=(*progress.calls, call)) if known else _reject_call(agent, progress, call, at)
            )
        elif progress.leaving is None:
            progress = progress._with(leaving=call)
        else:
            told = "Ignored: the conversation already moves on."
            progress = _with_tool_result(progress, call, told)._happened(
                "tool_call_result", at, call_id=call.id, name=call.name, result=told
            )
    return progress


def _continue(
    agent: AgentDefinition, progress: TurnProgress, at: datetime, initial_context: Mapping[str, JsonValue]
) -> TurnProgress:
    """Once the tools are done, take the transition that waits for them; the node's variables come before it."""
    if progress.calls or progress.leaving is None:
        return progress
    if agent.nodes[progress.node_id].extract:
        return progress._with(extracting=True)
    return _take_transition(agent, progress, progress.leaving, at, initial_context)


def _take_transition(
    agent: AgentDefinition,
    progress: TurnProgress,
    call: ToolCall,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    """Say what the transition says, enter its target, and greet there; on the way to where it is, greet no more."""
    left = progress.node_id
    transition = _transition_named(agent.nodes[left], call.name)
    if transition is None:
        return progress._with(leaving=None)
    speech = render(transition.say or "", template_values(agent, initial_context, progress.gathered_context))
    told = f"The conversation is now at {transition.to}."
    if speech.strip():
        progress = progress._with(said=(*progress.said, speech))
        told = f"{told} The user was just told: {speech}"
    moved = (
        _with_tool_result(progress, call, told)
        ._happened("node_transition", at, from_node=left, to_node=transition.to, transition=transition.name)
        ._happened("tool_call_result", at, call_id=call.id, name=call.name, result=told)
        ._with(node_id=transition.to, leaving=None)
    )
    return moved if transition.to == left else _greet(agent, moved, initial_context)


def _transition_named(node: Node, tool_name: str) -> Transition | None:
    return next((each for each in node.transitions if each.tool_name == tool_name), None)


def is_offered(agent: AgentDefinition, node_id: str, called: str) -> bool:
    """Whether a node offers a tool under the name that was called."""
    return find_tool(agent.tools, called) in agent.nodes[node_id].tools


def _reject_call(agent: AgentDefinition, progress: TurnProgress, call: ToolCall, at: datetime) -> TurnProgress:
    node = agent.nodes[progress.node_id]
    available = ", ".join([*(each.tool_name for each in node.transitions), *node.tools]) or "none"
    told = f"There is no tool named {call.name} here. Available tools: {available}."
    refused = progress._happened(
        "tool_call_result", at, call_id=call.id, name=call.name, error="unknown_tool", result=told
    )
    return _with_tool_result(refused, call, told)


def _with_tool_result(progress: TurnProgress, call: ToolCall, content: str) -> TurnProgress:
    message = ToolReturned(call_id=call.id, name=call.name, content=content)
    return progress._with(messages=(*progress.messages, message))


def _greet(agent: AgentDefinition, progress: TurnProgress, initial_context: Mapping[str, JsonValue]) -> TurnProgress:
    """Say the greeting of the node just entered, if it has one that says something; it is the answer then."""
    node = agent.nodes[progress.node_id]
    greeting = render(node.greeting or "", template_values(agent, initial_context, progress.gathered_context))
    if not greeting.strip():
        return progress
    greeted = progress._with(said=(*progress.said, greeting), messages=(*progress.messages, AgentSaid(text=greeting)))
    return _answered(agent, greeted)


def _apply_blank_reply(agent: AgentDefinition, progress: TurnProgress) -> TurnProgress:
    """Ask again, a few times; then be content with what a transition said, if it said anything."""
    blank = progress._with(blank_replies=progress.blank_replies + 1)
    if blank.blank_replies < MAX_BLANK_REPLIES:
        return blank
    if blank.said:
        return _answered(agent, blank)
    return blank.failed(f"The model answered {MAX_BLANK_REPLIES} times with neither text nor a tool call.")


def _answered(agent: AgentDefinition, progress: TurnProgress) -> TurnProgress:
    """The turn has its answer. On an end node it ends the session, after the node's variables, if it has any."""
    node = agent.nodes[progress.node_id]
    if node.end and node.extract:
        return progress._with(extracting=True)
    return progress._with(outcome="ended" if node.end else "answered")
