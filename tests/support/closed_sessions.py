"""Sessions that are hard to read: closed or deleted workflows, and turns that no view contains."""

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from api.sessions.reader import SessionReader
from domain.sessions.views import TimelineView
from store.sessions.sessions import StoredSession
from tests.support.waiting import eventually


async def closed(client: Client, workflow_id: str) -> None:
    """Wait until a workflow has ended."""

    async def has_ended() -> bool:
        return (await client.get_workflow_handle(workflow_id).describe()).close_time is not None

    await eventually(has_ended)


async def is_known(client: Client, workflow_id: str) -> bool:
    """True when Temporal has a workflow with this id."""
    try:
        await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def forgotten(client: Client, workflow_id: str) -> None:
    """Wait until a workflow has ended and delete it, as Temporal does after the retention period."""
    await closed(client, workflow_id)
    request = DeleteWorkflowExecutionRequest(
        namespace=client.namespace, workflow_execution=WorkflowExecution(workflow_id=workflow_id)
    )
    await client.workflow_service.delete_workflow_execution(request, retry=True)

    async def is_gone() -> bool:
        return not await is_known(client, workflow_id)

    await eventually(is_gone)


def cut_views(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    """Limit live views to the newest `turns` turns of each branch, and to the newest discarded branch."""
    live = SessionReader.live

    async def cut(self: SessionReader, session: StoredSession) -> TimelineView:
        view = await live(self, session)
        newest = view.discarded_branches[-1:]
        branches = tuple(branch.model_copy(update={"turns": branch.turns[-turns:]}) for branch in newest)
        return view.model_copy(update={"turns": view.turns[-turns:], "discarded_branches": branches})

    monkeypatch.setattr(SessionReader, "live", cut)
