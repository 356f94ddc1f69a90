"""The third-party clients, the settings that their users set, and runs of their scripts."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tests.clients.environments import HERE, node_environment, python_environment

TALK_SECONDS = 120.0
"""Seconds for all conversations of a client on a busy machine."""
MESSAGES_PER_CONVERSATION = 3
TALKING = HERE / "talking"
"""The folder that the scripts import from."""
USER_VARIABLES = ("PLAYHEAD_", "OPENAI_", "LITELLM_")


@dataclass(frozen=True)
class Outcome:
    """The replies in each way in which a client was used, or the error."""

    ways: dict[str, list[str] | str]

    @property
    def failures(self) -> dict[str, list[str] | str]:
        """The ways without a reply to every message."""
        return {
            way: replies
            for way, replies in self.ways.items()
            if isinstance(replies, str) or len(replies) != MESSAGES_PER_CONVERSATION or not all(replies)
        }


@dataclass(frozen=True)
class Client:
    """A client: the folder of its script and lock file, its package, and what a user sets."""

    folder: str
    package: str
    kind: Literal["python", "node"]
    label: str
    settings: str

    @cached_property
    def version(self) -> str:
        """The version in the lock file."""
        if self.kind == "node":
            lock = json.loads((HERE / self.folder / "package-lock.json").read_text())
            return str(lock["packages"][f"node_modules/{self.package}"]["version"])
        pin = re.search(
            rf"^{re.escape(self.package)}==([^ ]+)", (HERE / self.folder / "requirements.lock").read_text(), re.M
        )
        assert pin is not None, f"{self.package} is not in its lock file"
        return pin[1]

    def messages(self, way: str) -> list[str]:
        """The messages of a conversation, as the script sends them."""
        return [f"Hello, this is {self.folder}: {way}.", "A table for four on Friday, please.", "At seven."]

    def talk(self, api_url: str, model: str) -> Outcome:
        """Hold a conversation in each way against an API. Raises RuntimeError when the script fails."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(USER_VARIABLES)}
        environment |= {
            "CLIENT_BASE_URL": f"{api_url}/v1",
            "CLIENT_API_KEY": "dev",
            "CLIENT_MODEL": model,
            "CLIENT_NAME": self.folder,
            "PYTHONPATH": str(TALKING),
        }
        done = subprocess.run(
            self._command(), env=environment, capture_output=True, text=True, timeout=TALK_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{self.folder}: {done.stdout}{done.stderr}")
        return Outcome(json.loads(done.stdout.strip().splitlines()[-1]))

    def row(self, outcome: Outcome) -> str:
        """The client's row in the table of the documentation."""
        works = [way for way in outcome.ways if way not in outcome.failures]
        failed = [f"not: {way}" for way in outcome.failures]
        return f"| {self.label} {self.version} | {self.settings} | {'; '.join([*works, *failed])} |"

    def _command(self) -> list[str]:
        if self.kind == "python":
            return [str(python_environment(self.folder)), str(HERE / self.folder / "talk.py")]
        folder = node_environment(self.folder)
        for file in (TALKING / "conversation.mjs", HERE / self.folder / "talk.mjs"):
            (folder / file.name).write_text(file.read_text())
        return ["node", str(folder / "talk.mjs")]


CLIENTS = (
    Client("openai-python", "openai", "python", "`openai` (Python)", "`base_url`, `api_key`"),
    Client("openai-node", "openai", "node", "`openai` (Node)", "`baseURL`, `apiKey`"),
    Client("openai-agents", "openai-agents", "python", "OpenAI Agents SDK", "the model's `openai_client`"),
    Client("langchain-openai", "langchain-openai", "python", "LangChain (`langchain-openai`)", "`base_url`, `api_key`"),
    Client("litellm", "litellm", "python", "LiteLLM", "`openai/<agent>` as the model, `api_base`, `api_key`"),
    Client("pydantic-ai", "pydantic-ai-slim", "python", "Pydantic AI", "`OpenAIProvider(base_url, api_key)`"),
    Client(
        "ai-sdk", "ai", "node", "Vercel AI SDK (`ai`)", "`createOpenAICompatible` or `createOpenAI`, with `baseURL`"
    ),
    Client("llm", "llm", "python", "`llm`", "`api_base` in `extra-openai-models.yaml`, `--key`"),
)

HEAVY_CLIENTS = (
    Client("promptfoo", "promptfoo", "node", "promptfoo", "provider `openai:chat:<agent>`, `apiBaseUrl`, `apiKey`"),
    Client(
        "langwatch-scenario",
        "langwatch-scenario",
        "python",
        "langwatch-scenario",
        "the client in the `AgentAdapter`; nothing else",
    ),
    Client("pipecat", "pipecat-ai", "python", "pipecat", "`OpenAILLMService(base_url, api_key)`"),
    Client("livekit-agents", "livekit-agents", "python", "LiveKit Agents", "`openai.LLM(base_url, api_key)`"),
)
"""Clients that take minutes to install: `make test-clients` runs them, `make test` does not."""
