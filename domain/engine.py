"""How a turn is answered, one step at a time: (agent, progress, model reply) -> the new progress.

Nothing here calls a model. `begin` says where a turn starts; the workflow buys a reply for every
progress that `needs_reply` and hands it to `advance`, until the turn is answered, ends the session or fails.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from domain.agent import AgentDefinition, Node, Transition
from domain.durable import Durable
from domain.templates import render
from domain.turns import AgentSaid, Checkpoint, EventType, Message, ToolReturned, TurnEvent, UserSaid
from domain.usage import Cost, Usage, merge_costs, merge_usage

MAX_BLANK_REPLIES = 3
"""How often in one turn a model may answer with neither text nor a tool call before the turn fails."""

Outcome = Literal["answered", "ended", "failed"]


class ToolCall(Durable):
    """A tool that the model asked for."""

    id: str
    name: str
    arguments: dict[str, JsonValue] = {}


class ModelReply(Durable):
    """What one model call brought: text, tool calls or both, and what it used and cost."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    cost: Cost = Cost()


class TurnProgress(Durable):
    """A turn that is being answered: where it stands and what was said, done and spent so far.

    `messages` are those the next step adds to the conversation; once the turn is over they are what
    the turn after it has to carry. `spoke` says that the model itself has said something, not only a transition.
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
    outcome: Outcome | None = None
    error: str | None = None

    @property
    def needs_reply(self) -> bool:
        return self.outcome is None

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


def variables(
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


def begin(
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


def advance(
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
    turn, and on an end node the session.
    """
    progress = progress._with(
        steps=progress.steps + 1,
        usage=merge_usage([progress.usage, reply.usage]),
        cost=merge_costs([progress.cost, reply.cost]),
        said=(*progress.said, reply.text) if reply.text.strip() else progress.said,
        spoke=progress.spoke or bool(reply.text.strip()),
        messages=(),
    )
    if reply.tool_calls:
        progress = _take_tool_calls(agent, progress, reply.tool_calls, at, initial_context)
    elif progress.spoke:
        progress = _answered(agent, progress)
    else:
        progress = _take_blank_reply(agent, progress)
    limit = agent.limits.max_steps_per_turn
    if progress.needs_reply and progress.steps >= limit:
        return progress.failed(
            f"The turn took {limit} model calls without coming to an answer. "
            "Raise limits.max_steps_per_turn, or look for transitions that lead in a circle."
        )
    return progress


def _take_tool_calls(
    agent: AgentDefinition,
    progress: TurnProgress,
    calls: tuple[ToolCall, ...],
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    left = progress.node_id
    node = agent.nodes[left]
    taken: Transition | None = None
    for call in calls:
        transition = _transition_named(node, call.name)
        if transition is None:
            progress = _refuse_unknown_tool(progress, node, call, at)
        elif taken is not None:
            progress = _returned(progress, call, f"Ignored: the conversation already moves to {taken.to}.")
        else:
            taken = transition
            speech = render(transition.say or "", variables(agent, initial_context, progress.gathered_context))
            progress = _move(progress, call, transition, speech, at)
    if progress.node_id == left:
        return progress
    return _greet(agent, progress, initial_context)


def _transition_named(node: Node, tool_name: str) -> Transition | None:
    return next((each for each in node.transitions if each.tool_name == tool_name), None)


def _move(progress: TurnProgress, call: ToolCall, transition: Transition, speech: str, at: datetime) -> TurnProgress:
    moved = progress._happened(
        "node_transition", at, from_node=progress.node_id, to_node=transition.to, transition=transition.name
    )._with(node_id=transition.to)
    told = f"The conversation is now at {transition.to}."
    if speech.strip():
        moved = moved._with(said=(*moved.said, speech))
        told = f"{told} The user was just told: {speech}"
    return _returned(moved, call, told)


def _refuse_unknown_tool(progress: TurnProgress, node: Node, call: ToolCall, at: datetime) -> TurnProgress:
    available = ", ".join(each.tool_name for each in node.transitions) or "none"
    told = f"There is no tool named {call.name} here. Available tools: {available}."
    progress = progress._happened(
        "tool_call_started", at, call_id=call.id, name=call.name, arguments=call.arguments
    )._happened("tool_call_result", at, call_id=call.id, name=call.name, error="unknown_tool", result=told)
    return _returned(progress, call, told)


def _returned(progress: TurnProgress, call: ToolCall, content: str) -> TurnProgress:
    message = ToolReturned(call_id=call.id, name=call.name, content=content)
    return progress._with(messages=(*progress.messages, message))


def _greet(agent: AgentDefinition, progress: TurnProgress, initial_context: Mapping[str, JsonValue]) -> TurnProgress:
    """Say the greeting of the node just entered, if it has one that says something; it is the answer then."""
    node = agent.nodes[progress.node_id]
    greeting = render(node.greeting or "", variables(agent, initial_context, progress.gathered_context))
    if not greeting.strip():
        return progress
    greeted = progress._with(said=(*progress.said, greeting), messages=(*progress.messages, AgentSaid(text=greeting)))
    return _answered(agent, greeted)


def _take_blank_reply(agent: AgentDefinition, progress: TurnProgress) -> TurnProgress:
    """Ask again, a few times; then be content with what a transition said, if it said anything."""
    blank = progress._with(blank_replies=progress.blank_replies + 1)
    if blank.blank_replies < MAX_BLANK_REPLIES:
        return blank
    if blank.said:
        return _answered(agent, blank)
    return blank.failed(f"The model answered {MAX_BLANK_REPLIES} times with neither text nor a tool call.")


def _answered(agent: AgentDefinition, progress: TurnProgress) -> TurnProgress:
    return progress._with(outcome="ended" if agent.nodes[progress.node_id].end else "answered")
