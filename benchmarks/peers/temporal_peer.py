"""The common part of the peers on Temporal: a workflow for each conversation, worker and client in one process.

Each message is a workflow update. The workflow holds the messages; it never ends, so its history grows.
"""

from collections.abc import Callable
from typing import Any  # workflows and messages are of the SDKs

from temporalio.client import Client

TASK_QUEUE = "peer"


class TemporalPeer:
    """Conversations as workflows of one type, each started with its past."""

    def __init__(self, client: Client, workflow: Any, past: Callable[[int], list[Any]]) -> None:
        self._client = client
        self._workflow = workflow
        self._past = past

    async def begin(self, conversation: str, past_turns: int) -> None:
        await self._client.start_workflow(
            self._workflow.run, self._past(past_turns), id=conversation, task_queue=TASK_QUEUE
        )

    async def say(self, conversation: str, text: str, message_id: str) -> str:
        handle = self._client.get_workflow_handle(conversation)
        return str(await handle.execute_update(self._workflow.say, text, id=message_id))

    async def repeat(self, conversation: str, text: str, message_id: str) -> str:
        """An update with the same id joins the one that is under way."""
        return await self.say(conversation, text, message_id)
