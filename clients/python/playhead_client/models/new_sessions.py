"""Settings of a session that a program sends: limits, and the simulated user.

The API checks lengths and ranges; a newer API may allow more than an older one. A misspelled field is rejected here.
"""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from playhead_client.models.agents import Limits


class SessionLimits(Limits):
    """Limits of one session; those that are not set remain the agent's."""

    model_config = ConfigDict(extra="forbid")


class _Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Persona(_Setting):
    """The person that a simulated user plays: a name, a manner in a few words, and the language."""

    name: str = "the caller"
    manner: str = ""
    language: str = "English"


class CallerLimits(_Setting):
    """Limits of a simulated user: messages of its own, US dollars of the session, seconds of wall clock.

    `max_stalled_turns` is the number of successive exchanges that may repeat earlier ones. None sets no limit.
    """

    max_turns: int = 40
    max_cost_usd: Decimal | None = None
    seconds: int | None = None
    max_stalled_turns: int | None = 4


class SimulatorConfig(_Setting):
    """A simulated user: who it plays, its goal, and the facts it may share.

    `opening` is its first message, word for word. It cannot hang up before `min_turns` messages. `model` is the
    session's unless set. `seed` makes models that support seeds reproducible.
    """

    persona: Persona = Persona()
    goal: str
    facts: dict[str, str | int | float | bool] = {}
    opening: str | None = None
    min_turns: int = 0
    limits: CallerLimits = CallerLimits()
    model: str | None = None
    seed: int = 0
