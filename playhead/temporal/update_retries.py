"""Updates that a server lets fall with a failed workflow task are sent again: nothing of them was taken."""

from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from temporalio.client import Interceptor, OutboundInterceptor, StartWorkflowUpdateInput, WorkflowUpdateHandle
from temporalio.service import RPCError

FALLEN: Final = "unexpected workflow task failure"
"""How the server says so. It happens to a command that meets its session in the moment of continuing as new."""
TRIES: Final = 5


class UpdateRetries(Interceptor):
    """Sends an update again, under the same id, that a failed workflow task has taken with it."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap the calls of one client."""
        return _RetryingOutbound(next)


class _RetryingOutbound(OutboundInterceptor):
    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        named = replace(input, update_id=input.update_id or uuid4().hex)
        for _ in range(TRIES - 1):
            try:
                return await super().start_workflow_update(named)
            except RPCError as error:
                if FALLEN not in error.message:
                    raise
        return await super().start_workflow_update(named)
