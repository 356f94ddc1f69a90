"""A simulated caller as data: who it plays and how far, what a session keeps of it, and what one line of it takes."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from domain.agents.tools import DAY_SECONDS, AuthoredModel, nonblank
from domain.durable import FrozenModel

MAX_GOAL_CHARACTERS = 4_000
MAX_FACT_CHARACTERS = 1_000
MAX_CALLER_MESSAGE_CHARACTERS = 8_000
"""Characters of one line of a caller; the rest of what its model wrote is left out."""

Fact = Annotated[str, Field(max_length=MAX_FACT_CHARACTERS)] | int | float | bool
Facts = Annotated[dict[str, Fact], Field(max_length=100)]
StopReason = Literal[
    "caller_hung_up",
    "caller_max_turns",
    "caller_max_cost",
    "caller_time_over",
    "caller_stalled",
    "caller_failed",
    "agent_failed",
]
"""Why a simulated caller ends its session; it is the session's completion reason."""


class Persona(AuthoredModel):
    """Whom the caller plays: a name, a manner in a few words, and the language it speaks."""

    name: Annotated[str, nonblank(200)] = "the caller"
    manner: Annotated[str, Field(max_length=1_000)] = ""
    language: Annotated[str, nonblank(100)] = "English"


class CallerLimits(AuthoredModel):
    """Where a caller gives up: after lines of its own, US dollars of the session, seconds of wall clock.

    `max_stalled_turns` is how many exchanges in a row may repeat earlier ones. None sets no limit.
    """

    max_turns: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 40
    max_cost_usd: Annotated[Decimal, Field(gt=0, le=1_000_000)] | None = None
    seconds: Annotated[int, Field(strict=True, ge=1, le=365 * DAY_SECONDS)] | None = None
    max_stalled_turns: Annotated[int, Field(strict=True, ge=1, le=100)] | None = 4


class SimulatorConfig(AuthoredModel):
    """What a simulated caller goes by.

    `opening` is said word for word first. Before it has said `min_turns` lines it cannot hang up. `model` may be None
    to take the session's. `seed` makes callers that can be seeded say the same again.
    """

    persona: Persona = Persona()
    goal: Annotated[str, nonblank(MAX_GOAL_CHARACTERS)]
    facts: Facts = {}
    opening: Annotated[str, nonblank(MAX_CALLER_MESSAGE_CHARACTERS)] | None = None
    min_turns: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 0
    limits: CallerLimits = CallerLimits()
    model: Annotated[str, nonblank(200)] | None = None
    seed: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] = 0


class SetSimulator(FrozenModel):
    """Switch a simulated caller on or off. Without a `config` the one it had is kept."""

    enabled: bool
    config: SimulatorConfig | None = None
    expected_revision: int | None = None


class SimulatorState(FrozenModel):
    """A simulated caller at work in a session.

    `at_turn_id` is the newest turn that is the caller's own doing: while another one is seen, somebody else is
    talking and the caller holds its tongue. `at_cursor` says that it was handed the conversation at a rewind. `lines`
    and `stalled` count what it said, and how many exchanges in a row were repeats; `heard` holds digests of its latest
    ones. `says_goodbye` makes it hang up after the pending reply.
    """

    enabled: bool
    config: SimulatorConfig
    since: datetime
    at_turn_id: str | None = None
    at_cursor: bool = False
    lines: int = 0
    stalled: int = 0
    heard: tuple[str, ...] = ()
    says_goodbye: bool = False
    stopped: StopReason | None = None


class SimulatorStatus(FrozenModel):
    """A simulated caller as people see it: what it goes by, whether it is on, whether it may speak, what it has said.

    It is on without having the floor while a person talks in its place. `stopped` is why it left, if it did.
    """

    enabled: bool
    config: SimulatorConfig
    has_the_floor: bool
    lines: int
    stopped: StopReason | None = None


class Utterance(FrozenModel):
    """Something that was said, as the caller tells speakers apart: its own side, or the agent it talks to."""

    by: Literal["caller", "agent"]
    text: str
