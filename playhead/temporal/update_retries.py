"""Retries of updates that the server loses with a failed workflow task; such an update was not applied."""

from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from temporalio.client import Interceptor, OutboundInterceptor, StartWorkflowUpdateInput, WorkflowUpdateHandle
from temporalio.service import RPCError

LOST_UPDATE: Final = "unexpected workflow task failure"
"""The server's message. It occurs when a command reaches a session that is continuing as new."""
MAX_ATTEMPTS: Final = 5


class UpdateRetries(Interceptor):
    """Sends an update that was lost with a failed workflow task again, with the same id."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap the calls of one client."""
        return _RetryingOutbound(next)


class _RetryingOutbound(OutboundInterceptor):
    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        named = replace(input, update_id=input.update_id or uuid4().hex)
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                return await super().start_workflow_update(named)
            except RPCError as error:
                if LOST_UPDATE not in error.message:
                    raise
        return await super().start_workflow_update(named)
