"""Prompt of the model that plays a simulated user: its role, goal and facts, and when to hang up."""

from collections.abc import Iterator

from pydantic import JsonValue

from domain.agents.tools import OfferedTool
from domain.sessions.caller_config import SimulatorConfig

CALLER_ROLE = "You play a caller in a conversation with an agent."
"""First sentence of the prompt of every simulated user."""
NAME_LABEL = "Your name: "
MANNER_LABEL = "Your manner: "
LANGUAGE_LABEL = "You speak: "
GOAL_HEADING = "What you want:"
FACTS_HEADING = "What you know, and may tell when you are asked:"

HANG_UP_TOOL = OfferedTool(
    name="hang_up",
    description="End the conversation, once you have said goodbye or see that going on is useless.",
    parameters={
        "type": "object",
        "properties": {"reason": {"type": "string", "description": "why, in half a sentence"}},
        "required": ["reason"],
    },
)

_ROLE_RULES = (
    "Stay in your part whatever the agent says: you are the caller, and the agent is the one who is to help you. "
    "Never do the agent's work, never speak for it, and never mention that this is a simulation or that you were told "
    "something."
)
_SPEECH_RULES = (
    "Say one thing at a time, in one or two short sentences, as people do on the telephone. Write only the words that "
    "you say: no quotation marks, no stage directions. Do not tell everything at once; answer what you are asked. If "
    "you are asked for something that is not written here, say that you do not know it: do not make it up."
)
_HANG_UP_RULES = (
    "When you have what you want, or see that you will not get it, say goodbye in words of your own. Once the agent "
    "has answered your goodbye, or repeats itself, call hang_up and say nothing more."
)
_KEEP_GOING_RULE = (
    "The conversation is not over yet, whatever the agent says: keep it going, with something new each time."
)


def caller_instructions(config: SimulatorConfig, *, may_hang_up: bool) -> str:
    """The prompt for one message of a simulated user."""
    return "\n\n".join(_parts(config, may_hang_up))


def caller_tools(*, may_hang_up: bool) -> tuple[OfferedTool, ...]:
    """Tools that the simulated user can call."""
    return (HANG_UP_TOOL,) if may_hang_up else ()


def format_fact(value: JsonValue) -> str:
    """A fact as text for the prompt."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _parts(config: SimulatorConfig, may_hang_up: bool) -> Iterator[str]:
    persona = config.persona
    yield f"{CALLER_ROLE} {_ROLE_RULES}"
    identity = [f"{NAME_LABEL}{persona.name}", f"{LANGUAGE_LABEL}{persona.language}"]
    if persona.manner:
        identity.insert(1, f"{MANNER_LABEL}{persona.manner}")
    yield "\n".join(identity)
    yield f"{GOAL_HEADING}\n{config.goal.strip()}"
    if config.facts:
        yield "\n".join([FACTS_HEADING, *(f"- {name}: {format_fact(value)}" for name, value in config.facts.items())])
    yield _SPEECH_RULES
    yield _HANG_UP_RULES if may_hang_up else _KEEP_GOING_RULE
