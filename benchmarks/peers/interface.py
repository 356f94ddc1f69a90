"""The one interface of the peers in this package: their methods, and the settings that they get.

A peer runs in a process of its own (`benchmarks.peers.process`), with the packages of `requirements.lock`. It finds
its model, its database and its server in the environment.
"""

import os
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Protocol, Self

MESSAGE = "Could you tell me a little more about that one more, please?"
REPLY = "Of course. There is always a little more to say about these."
"""The texts of every turn: sixty characters each."""
TOOL_MESSAGE = "Please look up the price of the blue one for me, if you can."
"""The message that the provider answers with a call of the tool, when it is offered."""
INSTRUCTIONS = "Answer whatever the caller says."
MODEL = "provider"
TOOL = "look_up"
TOOL_PATH = "/look-up"
"""The tool asks the provider's server for a price, so that its journal counts the calls too."""
TOOL_DESCRIPTION = "Look up the price of a thing."
MAX_STEPS = 4
"""Model calls in one turn of a hand-written loop."""


@dataclass(frozen=True)
class Settings:
    """The environment of a peer; what it does not need is empty."""

    provider_url: str
    folder: str = ""
    """For SQLite files."""
    database_url: str = ""
    """A PostgreSQL database of the peer's own."""
    temporal_address: str = ""
    api_urls: str = ""
    """Playhead's APIs, separated by commas."""
    api_key: str = ""
    with_tool: str = ""
    """`yes` when the agent has the tool."""
    model_seconds: str = "60"
    """The time after which a model call counts as lost."""
    heartbeat_seconds: str = ""
    """The heartbeat timeout of model calls, for peers that have one."""

    @property
    def tool_url(self) -> str:
        return self.provider_url.removesuffix("/v1") + TOOL_PATH

    def environment(self) -> dict[str, str]:
        """As variables for the peer's process, with those that OpenAI's packages read. Traces are sent nowhere."""
        own = {f"PEER_{name.upper()}": value for name, value in asdict(self).items()}
        openai = {"OPENAI_BASE_URL": self.provider_url, "OPENAI_API_KEY": "benchmarks"}
        return own | openai | {"OPENAI_AGENTS_DISABLE_TRACING": "1", "LANGSMITH_TRACING": "false"}

    @classmethod
    def read(cls) -> Self:
        """From the environment of this process."""
        names = cls.__dataclass_fields__
        return cls(**{name: os.environ.get(f"PEER_{name.upper()}", "") for name in names})


class Peer(Protocol):
    """One framework, holding many conversations."""

    async def begin(self, conversation: str, past_turns: int) -> None:
        """Make a conversation that has so many turns behind it."""

    async def say(self, conversation: str, text: str, message_id: str) -> str:
        """Send a message; returns the reply."""

    async def repeat(self, conversation: str, text: str, message_id: str) -> str:
        """Ask again for the reply to a message that a crash interrupted, in the way that the peer is made for."""


class PeerModule(Protocol):
    """A module of this package that holds a peer."""

    DISTRIBUTIONS: tuple[str, ...]
    """The packages whose versions matter."""

    def opened(self, settings: Settings) -> AbstractAsyncContextManager[Peer]:
        """The peer, ready for messages, for the duration of the block."""
