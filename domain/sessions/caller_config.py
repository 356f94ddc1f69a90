"""Configuration, state and status of a simulated user."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from domain.agents.tools import DAY_SECONDS, AuthoredModel, nonblank
from domain.durable import FrozenModel

MAX_GOAL_CHARACTERS = 4_000
MAX_FACT_CHARACTERS = 1_000
MAX_CALLER_MESSAGE_CHARACTERS = 8_000
"""Maximum characters of one message of a simulated user; longer output of its model is cut off."""

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
"""The reason why a simulated user ends its session, which becomes the completion reason."""


class Persona(AuthoredModel):
    """The persona of a simulated user: a name, a manner in a few words, and a language."""

    name: Annotated[str, nonblank(200)] = "the caller"
    manner: Annotated[str, Field(max_length=1_000)] = ""
    language: Annotated[str, nonblank(100)] = "English"


class CallerLimits(AuthoredModel):
    """Limits at which a simulated user stops: its own messages, the session's cost in US dollars, wall-clock seconds.

    `max_stalled_turns` is the limit of consecutive exchanges that repeat earlier ones. None means no limit.
    """

    max_turns: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 40
    max_cost_usd: Annotated[Decimal, Field(gt=0, le=1_000_000)] | None = None
    seconds: Annotated[int, Field(strict=True, ge=1, le=365 * DAY_SECONDS)] | None = None
    max_stalled_turns: Annotated[int, Field(strict=True, ge=1, le=100)] | None = 4


class SimulatorConfig(AuthoredModel):
    """Configuration of a simulated user.

    `opening` is its first message, sent verbatim. It cannot hang up before it has sent `min_turns` messages. `model`
    None means the model of the session. `seed` makes models that support seeds reproducible.
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
    """Switch a simulated user on or off. Without a `config` its present one is kept."""

    enabled: bool
    config: SimulatorConfig | None = None
    expected_revision: int | None = None


class SimulatorState(FrozenModel):
    """State of a simulated user in a session.

    `at_turn_id` is the newest turn that the simulated user opened or took over at: while the newest visible turn is
    another one, somebody else is talking and it stays silent. `at_cursor` is true if it took over at a rewind.
    `lines` counts its messages, `stalled` the latest consecutive exchanges that repeat earlier ones,
    `recent_exchanges` has digests of its latest exchanges. With `says_goodbye` it hangs up after the pending reply.
    """

    enabled: bool
    config: SimulatorConfig
    since: datetime
    at_turn_id: str | None = None
    at_cursor: bool = False
    lines: int = 0
    stalled: int = 0
    recent_exchanges: tuple[str, ...] = ()
    says_goodbye: bool = False
    stopped: StopReason | None = None


class SimulatorStatus(FrozenModel):
    """Public status of a simulated user.

    `has_the_floor` is true if it speaks next: an enabled simulated user does not while a person talks in its place.
    `lines` counts its messages. `stopped` is the reason why it stopped, if it did.
    """

    enabled: bool
    config: SimulatorConfig
    has_the_floor: bool
    lines: int
    stopped: StopReason | None = None


class Utterance(FrozenModel):
    """A message as the simulated user sees it: of its own side, or of the agent."""

    by: Literal["caller", "agent"]
    text: str
