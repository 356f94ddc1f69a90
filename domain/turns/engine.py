"""The engine of a turn, step by step: computes new progress from the agent, the progress and a model reply.

Nothing here calls a model or a tool. `begin_turn` starts a turn. The workflow then provides what `next_step` names,
until the turn is answered, ends the session or fails: a model reply for `apply_reply`, tool results for
`apply_tool_result`, the variables of a node for `apply_extraction`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from domain.agents.definition import RECORDING_MARK, AgentDefinition, Node, Transition
from domain.agents.templates import TURN_STARTED_AT, Insertion, render, render_marked
from domain.agents.tools import BuiltinTool, find_tool
from domain.durable import FrozenModel
from domain.turns.recordings import RECORDING_INSTRUCTIONS, reference_to, split_recordings
from domain.turns.turn import AgentSaid, Checkpoint, EventType, Message, ToolReturned, TurnEvent, UserSaid
from domain.usage import Cost, Usage, merge_costs, merge_usage

MAX_BLANK_REPLIES = 3
"""Number of replies with neither text nor a tool call after which a turn fails."""

PART_SEPARATOR = "\n\n"
"""Separator of the parts of a reply, such as the text of a transition and the model's: each is a paragraph."""

STOPPED_CALL_MESSAGE = "The call was not made: the user stopped the reply."
"""Tool result for a call that was not made, because the reply was interrupted first."""

GREETING_OVERRIDE = "greeting_override"
"""Name of the context variable with a greeting for the start node.

Text, `{"type": "text", "text": ...}`, or `{"type": "audio", "recording_id": ...}`.
"""

BETWEEN_PROMPTS = "\n\n"
"""Separates the agent's prompt from that of the node."""

TurnOutcome = Literal["answered", "ended", "failed"]
AgentEnding = Literal["end_node", "end_tool", "handed_over"]
"""The way in which an agent ends a session: at an end node, or with a built-in tool."""
NextStep = Literal["reply", "tools", "extraction"]


class ToolCall(FrozenModel):
    """A tool call requested by the model."""

    id: str
    name: str
    arguments: dict[str, JsonValue] = {}


class ModelReply(FrozenModel):
    """Result of one model call: text, tool calls or both, usage and cost.

    `interrupted` is true if the call was cancelled: the text is partial. `estimated` is true if the provider did not
    report the usage, which was then estimated from request and reply. `first_word` is the time in seconds from
    the start of the call to its first text.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    cost: Cost = Cost()
    interrupted: bool = False
    estimated: bool = False
    first_word: float | None = None


class FailedAttempt(FrozenModel):
    """An attempt at a tool call that failed and was followed by another; `error` is the code of the failure."""

    started_at: datetime
    seconds: float
    error: str
    status: int | None = None


class ToolResult(FrozenModel):
    """Result of a tool call: text for the model, an error code if it failed, and variables for the context."""

    content: str
    error: str | None = None
    assigned: dict[str, JsonValue] = {}
    attempts: int = 1
    failed_attempts: tuple[FailedAttempt, ...] = ()


class ExtractionResult(FrozenModel):
    """Extracted variables of a node, or the error of the extraction, with usage and cost."""

    values: dict[str, JsonValue] = {}
    error: str | None = None
    usage: Usage = Usage()
    cost: Cost = Cost()


class TurnProgress(FrozenModel):
    """Progress of a pending turn: node, context, text, events and usage so far.

    `messages` are added to the conversation by the next step, or carried to the next turn if there is no further step.
    `said` is the agent's text so far; `spoke` is true if some of it comes from the model, not only from transitions.
    `calls` are pending tool calls, `leaving` is the transition taken after them, and with `extracting` the variables
    of the node are extracted before it. `ending` is set by a tool that ends the session after the pending calls.
    Templates show `started_at` as the current time throughout the turn. `first_word_at` is the time of the first
    text of the agent. `withheld` are tools of the agent that the model is not offered in this turn.
    """

    turn_id: str
    node_id: str
    gathered_context: dict[str, JsonValue] = {}
    after: str = ""
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
    started_at: datetime | None = None
    ending: AgentEnding | None = None
    first_word_at: datetime | None = None
    error_code: str | None = None
    withheld: tuple[str, ...] = ()

    @property
    def next_step(self) -> NextStep | None:
        """The next thing the turn needs; None when it is over."""
        if self.outcome is not None:
            return None
        if self.calls:
            return "tools"
        return "extraction" if self.extracting else "reply"

    @property
    def text(self) -> str:
        return PART_SEPARATOR.join(self.said)

    def checkpoint(self) -> Checkpoint:
        """The checkpoint from which the next turn continues."""
        return Checkpoint(
            node_id=self.node_id,
            gathered_context=self.gathered_context,
            after=self.after,
            carry=self.messages,
        )

    def stopped(self, *, at: datetime) -> "TurnProgress":
        """The progress, interrupted. Pending calls get a result, because providers require one for every call."""
        stopped = self._with(calls=(), leaving=None, extracting=False)
        for call in (*self.calls, *([self.leaving] if self.leaving else [])):
            stopped = _with_tool_result(stopped, call, STOPPED_CALL_MESSAGE)._with_event(
                "tool_call_result",
                at,
                call_id=call.id,
                name=call.name,
                error="interrupted",
                result=STOPPED_CALL_MESSAGE,
            )
        return stopped

    def after_step(self, digest: str) -> "TurnProgress":
        """The same progress, after the model call of this digest (`domain/turns/call_digest.py`)."""
        return self._with(after=digest)

    def with_first_word(self, at: datetime) -> "TurnProgress":
        """The progress, with the time of its first text unless that is known, or there is no text."""
        return self._with(first_word_at=at) if self.said and self.first_word_at is None else self

    def failed(self, error: str, code: str | None = None) -> "TurnProgress":
        """The progress, failed with a readable error, and its code if it has one of its own."""
        return self._with(outcome="failed", error=error, error_code=code)

    def _with(self, **changes: object) -> "TurnProgress":
        return self.model_copy(update=changes)

    def _saying(self, text: str, at: datetime, *, source: str, may_refer: bool = True) -> "TurnProgress":
        """The progress with more of the agent's text; references to recordings become events instead."""
        visible, recordings = split_recordings(text) if may_refer else (text, ())
        progress = self._with(said=(*self.said, visible)) if visible.strip() else self
        for recording in recordings:
            transcript: dict[str, JsonValue] = {"transcript": recording.transcript} if recording.transcript else {}
            progress = progress._with_event(
                "recording_referenced", at, recording_id=recording.id, source=source, **transcript
            )
        return progress

    def _with_event(self, kind: EventType, at: datetime, **payload: JsonValue) -> "TurnProgress":
        event = TurnEvent(type=kind, created_at=at, payload=payload)
        return self._with(events=(*self.events, event))


def start_checkpoint(agent: AgentDefinition) -> Checkpoint:
    """The checkpoint of the first turn: the start node, without context or messages."""
    return Checkpoint(node_id=agent.start, entered=False)


def template_values(
    agent: AgentDefinition,
    initial_context: Mapping[str, JsonValue],
    gathered_context: Mapping[str, JsonValue],
    started_at: datetime | None = None,
) -> dict[str, JsonValue]:
    """Values of template variables: the agent's defaults, then the initial context, then the gathered context.

    `started_at` is the time at which the turn began, for the variables that show the current time.
    """
    known = {name: value for name, value in initial_context.items() if value is not None}
    values = {**agent.context, **known, **gathered_context}
    return {**values, TURN_STARTED_AT: started_at.isoformat()} if started_at and agent.shows_the_time else values


def values_of(
    agent: AgentDefinition, progress: TurnProgress, initial_context: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Values of template variables at this point of a turn."""
    return template_values(agent, initial_context, progress.gathered_context, progress.started_at)


def instructions_at(agent: AgentDefinition, node_id: str, values: Mapping[str, JsonValue]) -> str:
    """The rendered instructions at a node: the agent's prompt, if the node uses it, then the node's prompt."""
    return marked_instructions_at(agent, node_id, values)[0]


def marked_instructions_at(
    agent: AgentDefinition, node_id: str, values: Mapping[str, JsonValue]
) -> tuple[str, tuple[Insertion, ...]]:
    """The instructions at a node, and the places in them that came from variables."""
    node = agent.nodes[node_id]
    prompts = (agent.prompt if node.use_global_prompt else "", node.prompt)
    texts: list[str] = []
    insertions: list[Insertion] = []
    for text, places in (render_marked(prompt, values) for prompt in prompts if prompt.strip()):
        start = sum(len(before) + len(BETWEEN_PROMPTS) for before in texts)
        insertions += [each._replace(start=each.start + start, end=each.end + start) for each in places]
        texts.append(text)
    if any(RECORDING_MARK in text for text in texts):
        texts.append(RECORDING_INSTRUCTIONS)
    return BETWEEN_PROMPTS.join(texts), tuple(insertions)


def begin_turn(
    agent: AgentDefinition,
    checkpoint: Checkpoint,
    *,
    turn_id: str,
    user_text: str | None,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
    context: Mapping[str, JsonValue] | None = None,
    withheld: tuple[str, ...] = (),
) -> TurnProgress:
    """Start to answer a turn. `context` contains values that the message brings for the gathered context.

    `withheld` are tools that the model is not offered.

    A turn without a user message starts the conversation with the greeting of the node, without a model call. Without
    a greeting, or if it is blank after rendering, the model starts the conversation.
    """
    progress = TurnProgress(
        turn_id=turn_id,
        node_id=checkpoint.node_id,
        gathered_context={**checkpoint.gathered_context, **(context or {})},
        after=checkpoint.after,
        messages=checkpoint.carry,
        started_at=at,
        withheld=withheld,
    )
    if not checkpoint.entered:
        progress = progress._with_event("node_transition", at, from_node=None, to_node=checkpoint.node_id)
    if user_text is not None:
        return progress._with(messages=(*progress.messages, UserSaid(text=user_text)))
    return _greet(agent, progress, initial_context, at)


def apply_reply(
    agent: AgentDefinition,
    progress: TurnProgress,
    reply: ModelReply,
    *,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    """Apply one model reply to the turn.

    Its text is kept. A transition changes the node, and the model continues there in the same turn. A call of an
    unknown tool gets the list of available tools as its result. Text without tool calls ends the turn, and at an end
    node the session. An interrupted reply changes nothing else.
    """
    progress = progress._with(
        steps=progress.steps + 1,
        usage=merge_usage([progress.usage, reply.usage]),
        cost=merge_costs([progress.cost, reply.cost]),
        spoke=progress.spoke or bool(reply.text.strip()),
        messages=(),
    )._saying(reply.text, at, source="reply", may_refer=agent.has_recordings)
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
    """Apply the result of a tool call; after the last one a pending transition is taken."""
    payload: dict[str, JsonValue] = {"call_id": call.id, "name": call.name, "result": result.content}
    if result.error:
        payload["error"] = result.error
    if result.attempts > 1:
        payload["attempts"] = result.attempts
        payload["failed_attempts"] = [each.model_dump(mode="json") for each in result.failed_attempts]
    applied = _with_tool_result(progress, call, result.content)._with_event("tool_call_result", at, **payload)
    index = applied.calls.index(call)
    applied = applied._with(
        calls=(*applied.calls[:index], *applied.calls[index + 1 :]),
        gathered_context={**applied.gathered_context, **result.assigned},
    )
    if result.error is None:
        applied = _end_by_tool(agent, applied, call, initial_context, at)
    return _continue(agent, applied, at, initial_context)


def apply_extraction(
    agent: AgentDefinition,
    progress: TurnProgress,
    extraction: ExtractionResult,
    *,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    """Apply extracted variables. A failed extraction is recorded as an event, and the conversation continues."""
    payload: dict[str, JsonValue] = {"node": progress.node_id, "variables": extraction.values}
    if extraction.error:
        payload["error"] = extraction.error
    extracted = progress._with(
        steps=progress.steps + 1,
        usage=merge_usage([progress.usage, extraction.usage]),
        cost=merge_costs([progress.cost, extraction.cost]),
        gathered_context={**progress.gathered_context, **extraction.values},
        extracting=False,
    )._with_event("variables_extracted", at, **payload)
    if extracted.leaving is None:
        return extracted._with(outcome="ended")
    return _enforce_step_limit(agent, _take_transition(agent, extracted, extracted.leaving, at, initial_context))


def defer_extraction(progress: TurnProgress) -> TurnProgress:
    """End a turn at an end node without the extraction of its variables, which follows after the reply."""
    return progress._with(extracting=False, outcome="ended")


def _enforce_step_limit(agent: AgentDefinition, progress: TurnProgress) -> TurnProgress:
    """Fail the turn at the step limit. Extractions are exempt: they do not lead to another step."""
    limit = agent.limits.max_steps_per_turn
    if progress.next_step not in ("reply", "tools") or progress.steps < limit:
        return progress
    return progress.failed(
        f"The turn made {limit} model calls without an answer. "
        "Raise limits.max_steps_per_turn, or check for transitions that form a cycle."
    )


def _apply_tool_calls(
    agent: AgentDefinition, progress: TurnProgress, calls: tuple[ToolCall, ...], at: datetime
) -> TurnProgress:
    """Split the calls of the model into tools to run, one transition after them, and unknown tools."""
    node = agent.nodes[progress.node_id]
    for call in calls:
        progress = progress._with_event(
            "tool_call_started", at, call_id=call.id, name=call.name, arguments=call.arguments
        )
        if _transition_named(node, call.name) is None:
            known = call.name not in progress.withheld and is_offered(agent, progress.node_id, call.name)
            progress = (
                progress._with(calls=(*progress.calls, call)) if known else _reject_call(agent, progress, call, at)
            )
        elif progress.leaving is None:
            progress = progress._with(leaving=call)
        else:
            result = "Ignored: the conversation already moves on."
            progress = _with_tool_result(progress, call, result)._with_event(
                "tool_call_result", at, call_id=call.id, name=call.name, result=result
            )
    return progress


def _continue(
    agent: AgentDefinition, progress: TurnProgress, at: datetime, initial_context: Mapping[str, JsonValue]
) -> TurnProgress:
    """After all tool calls, end the session if one of them does so, or else take the pending transition.

    The variables of the node are extracted before a transition.
    """
    if progress.calls:
        return progress
    if progress.ending is not None:
        return _ended_by_tool(progress, at)
    if progress.leaving is None:
        return progress
    if agent.nodes[progress.node_id].extract:
        return progress._with(extracting=True)
    return _take_transition(agent, progress, progress.leaving, at, initial_context)


def _end_by_tool(
    agent: AgentDefinition,
    progress: TurnProgress,
    call: ToolCall,
    initial_context: Mapping[str, JsonValue],
    at: datetime,
) -> TurnProgress:
    """Record that a built-in tool ends the session, and add its text; the first of several counts."""
    tool = agent.tools.get(call.name)
    if not isinstance(tool, BuiltinTool) or not tool.ends_the_session or progress.ending is not None:
        return progress
    speech = render(tool.say or "", values_of(agent, progress, initial_context))
    ending: AgentEnding = "handed_over" if tool.action == "hand_over" else "end_tool"
    return progress._with(ending=ending)._saying(speech, at, source="tool")


def _ended_by_tool(progress: TurnProgress, at: datetime) -> TurnProgress:
    """End the session. A pending transition gets a result, because providers require one for every call."""
    leaving, result = progress.leaving, "Ignored: the session ends."
    if leaving is not None:
        progress = _with_tool_result(progress, leaving, result)._with_event(
            "tool_call_result", at, call_id=leaving.id, name=leaving.name, result=result
        )
    return progress._with(leaving=None, outcome="ended")


def _take_transition(
    agent: AgentDefinition,
    progress: TurnProgress,
    call: ToolCall,
    at: datetime,
    initial_context: Mapping[str, JsonValue],
) -> TurnProgress:
    """Take a transition: add its text, enter its target, and greet there unless the node stays the same."""
    source = progress.node_id
    transition = _transition_named(agent.nodes[source], call.name)
    if transition is None:
        return progress._with(leaving=None)
    speech = render(transition.say or "", values_of(agent, progress, initial_context))
    result = f"The conversation is now at {transition.to}."
    if speech.strip():
        progress = progress._saying(speech, at, source="transition")
        result = f"{result} The user was just told: {speech}"
    moved = (
        _with_tool_result(progress, call, result)
        ._with_event("node_transition", at, from_node=source, to_node=transition.to, transition=transition.name)
        ._with_event("tool_call_result", at, call_id=call.id, name=call.name, result=result)
        ._with(node_id=transition.to, leaving=None)
    )
    return moved if transition.to == source else _greet(agent, moved, initial_context, at)


def _transition_named(node: Node, tool_name: str) -> Transition | None:
    return next((each for each in node.transitions if each.tool_name == tool_name), None)


def is_offered(agent: AgentDefinition, node_id: str, called: str) -> bool:
    """True if a node offers a tool under this name."""
    return find_tool(agent.tools, called) in agent.nodes[node_id].tools


def _reject_call(agent: AgentDefinition, progress: TurnProgress, call: ToolCall, at: datetime) -> TurnProgress:
    node = agent.nodes[progress.node_id]
    tools = (name for name in node.tools if name not in progress.withheld)
    available = ", ".join([*(each.tool_name for each in node.transitions), *tools]) or "none"
    result = f"There is no tool named {call.name} here. Available tools: {available}."
    rejected = progress._with_event(
        "tool_call_result", at, call_id=call.id, name=call.name, error="unknown_tool", result=result
    )
    return _with_tool_result(rejected, call, result)


def _with_tool_result(progress: TurnProgress, call: ToolCall, content: str) -> TurnProgress:
    message = ToolReturned(call_id=call.id, name=call.name, content=content)
    return progress._with(messages=(*progress.messages, message))


def _greet(
    agent: AgentDefinition, progress: TurnProgress, initial_context: Mapping[str, JsonValue], at: datetime
) -> TurnProgress:
    """Answer with the greeting of the node just entered, if it has one that is not blank."""
    node = agent.nodes[progress.node_id]
    override = _greeting_override(initial_context) if progress.node_id == agent.start else None
    greeting = render(override or node.greeting or "", values_of(agent, progress, initial_context))
    if not greeting.strip():
        return progress
    greeted = progress._with(messages=(*progress.messages, AgentSaid(text=greeting)))
    return _answered(agent, greeted._saying(greeting, at, source="greeting"))


def _greeting_override(initial_context: Mapping[str, JsonValue]) -> str | None:
    """The text that replaces the greeting of the start node; None unless the initial context has one."""
    given = initial_context.get(GREETING_OVERRIDE)
    if isinstance(given, dict):
        recording = given.get("recording_id")
        if given.get("type") == "audio" and isinstance(recording, str) and recording.strip():
            return reference_to(recording.strip())
        given = given.get("text") if given.get("type", "text") == "text" else None
    return given if isinstance(given, str) and given.strip() else None


def _apply_blank_reply(agent: AgentDefinition, progress: TurnProgress) -> TurnProgress:
    """Ask the model again, up to the limit; then accept the text of a transition, if there was one."""
    blank = progress._with(blank_replies=progress.blank_replies + 1)
    if blank.blank_replies < MAX_BLANK_REPLIES:
        return blank
    if blank.said:
        return _answered(agent, blank)
    return blank.failed(f"The model replied {MAX_BLANK_REPLIES} times with neither text nor a tool call.")


def _answered(agent: AgentDefinition, progress: TurnProgress) -> TurnProgress:
    """Finish the turn. At an end node this ends the session, after the extraction of its variables."""
    node = agent.nodes[progress.node_id]
    if node.end and node.extract:
        return progress._with(extracting=True)
    return progress._with(outcome="ended" if node.end else "answered")
