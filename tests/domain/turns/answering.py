"""Fixtures of the engine's tests: agents, turns at any node, and model replies."""

from datetime import UTC, datetime

from pydantic import JsonValue

from domain.agents.definition import AgentDefinition, Extraction, HttpTool, McpTool, Node, Transition
from domain.turns.engine import (
    ExtractionResult,
    ModelReply,
    ToolCall,
    ToolResult,
    TurnProgress,
    apply_extraction,
    apply_reply,
    apply_tool_result,
    begin_turn,
    start_checkpoint,
)
from domain.turns.turn import Checkpoint

AT = datetime(2026, 1, 1, tzinfo=UTC)
CONTEXT: dict[str, JsonValue] = {"first_name": "Ann", "city": None}

AGENT = AgentDefinition(
    name="booking-line",
    prompt="You speak for Osteria Fiorella in {{city}}.",
    start="greet",
    context={"first_name": "guest", "city": "Rome"},
    nodes={
        "greet": Node(
            prompt="Find out what {{first_name}} wants.",
            greeting="Good evening {{first_name}}.",
            transitions=(
                Transition(name="to booking", when="a table", to="booking", say="One moment, {{first_name}}."),
                Transition(name="bye", when="done", to="goodbye"),
                Transition(name="Again", when="something else", to="greet", say="Sure."),
                Transition(name="hang_up", when="rude", to="hang_up"),
            ),
        ),
        "booking": Node(
            prompt="Ask for the date.",
            use_global_prompt=False,
            transitions=(
                Transition(name="bye", when="done", to="goodbye"),
                Transition(name="back", when="wrong", to="greet", say="Back to the start."),
            ),
        ),
        "goodbye": Node(prompt="Say goodbye.", end=True),
        "hang_up": Node(greeting="I am ending this call.", end=True),
    },
)


DESK = AgentDefinition(
    name="booking-desk",
    start="greet",
    context={"first_name": "guest", "table": "none"},
    nodes={
        "greet": Node(
            prompt="Find out what {{first_name}} wants.",
            tools=("find_table", "check_menu", "crm"),
            transitions=(
                Transition(name="to_booking", when="a table", to="booking", say="Table {{table}} is free."),
                Transition(name="bye", when="done", to="goodbye"),
            ),
        ),
        "booking": Node(
            prompt="Ask for the number of guests.",
            tools=("find_table",),
            extract=(Extraction(name="guests", type="number"), Extraction(name="first_name")),
            transitions=(
                Transition(name="bye", when="done", to="goodbye", say="A table for {{guests | some}}, {{first_name}}."),
                Transition(name="wait", when="a pause", to="lounge"),
                Transition(name="again", when="it starts over", to="booking"),
            ),
        ),
        "lounge": Node(greeting="Have a seat, {{first_name}}.", prompt="Wait.", tools=("find_table",)),
        "goodbye": Node(prompt="Say goodbye.", end=True, extract=(Extraction(name="content", type="boolean"),)),
    },
    tools={
        "find_table": HttpTool(kind="http", description="Finds a table.", url="https://example.com/tables"),
        "check_menu": HttpTool(kind="http", description="Reads the menu.", url="https://example.com/menu"),
        "crm": McpTool(kind="mcp", url="https://example.com/mcp"),
    },
)
"""Offers tools everywhere but at its end, and extracts variables at `booking` and at `goodbye`."""


def asked(
    text: str = "A table, please.",
    checkpoint: Checkpoint | None = None,
    turn_id: str = "t1",
    agent: AgentDefinition = AGENT,
) -> TurnProgress:
    """A turn with a user message, before its first step."""
    at_greet = Checkpoint(node_id="greet", after="t0/0")
    return begin_turn(agent, checkpoint or at_greet, turn_id=turn_id, user_text=text, at=AT, initial_context=CONTEXT)


def opened(agent: AgentDefinition = AGENT) -> TurnProgress:
    """The turn that opens a conversation."""
    checkpoint = start_checkpoint(agent)
    return begin_turn(agent, checkpoint, turn_id="t0", user_text=None, at=AT, initial_context=CONTEXT)


def calling(*names: str, text: str = "", first: int = 1) -> ModelReply:
    """A reply that calls tools, as the calls c1, c2 and so on."""
    calls = tuple(ToolCall(id=f"c{number}", name=name) for number, name in enumerate(names, start=first))
    return ModelReply(text=text, tool_calls=calls)


def after(progress: TurnProgress, *replies: ModelReply, agent: AgentDefinition = AGENT) -> TurnProgress:
    """The turn after these replies."""
    for reply in replies:
        assert progress.next_step == "reply", f"the turn was over ({progress.outcome}) before all replies were used"
        progress = progress.after_step(digest_of(progress))
        progress = apply_reply(agent, progress, reply, at=AT, initial_context=CONTEXT)
    return progress


def digest_of(progress: TurnProgress) -> str:
    """The digest under which the tests save the next step of a turn."""
    return f"{progress.turn_id}/{progress.steps}"


def returning(progress: TurnProgress, content: str, error: str | None = None, **assigned: JsonValue) -> TurnProgress:
    """The turn after the first tool that it waits for has returned."""
    assert progress.next_step == "tools"
    result = ToolResult(content=content, error=error, assigned=assigned)
    return apply_tool_result(DESK, progress, progress.calls[0], result, at=AT, initial_context=CONTEXT)


def learning(
    progress: TurnProgress,
    extraction: ExtractionResult | None = None,
    agent: AgentDefinition = DESK,
    **values: JsonValue,
) -> TurnProgress:
    """The turn after the extraction that it waits for."""
    assert progress.next_step == "extraction"
    return apply_extraction(
        agent, progress, extraction or ExtractionResult(values=values), at=AT, initial_context=CONTEXT
    )


def moves(progress: TurnProgress) -> list[tuple[JsonValue, JsonValue]]:
    """The nodes that were left and entered."""
    return [
        (event.payload["from_node"], event.payload["to_node"])
        for event in progress.events
        if event.type == "node_transition"
    ]
