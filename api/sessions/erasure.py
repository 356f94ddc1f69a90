"""Erasure of sessions in Temporal, in the store and in this process."""

from api.http.problems import not_found
from api.sessions.reader import SessionReader
from api.temporal.deletion import WorkflowDeletion
from contracts.sessions import session_workflow_id
from contracts.webhooks import webhook_workflow_id
from store.sessions.erasure import ErasureStore
from store.sessions.sessions import SessionStore


class ErasureService:
    """Erases sessions. Usage is billed first and stays in the ledger."""

    def __init__(
        self,
        workflow_deletion: WorkflowDeletion,
        erasures: ErasureStore,
        sessions: SessionStore,
        session_reader: SessionReader,
    ) -> None:
        self._workflow_deletion = workflow_deletion
        self._erasures = erasures
        self._sessions = sessions
        self._session_reader = session_reader

    async def erase(self, organization_id: str, session_id: str) -> None:
        """Erase a session. Erasing it again changes nothing; after a Problem the call can be repeated.

        The store is erased last: a repeated call finds the session there and completes the rest.
        """
        if await self._sessions.find(organization_id, session_id) is None:
            if await self._erasures.was_erased(organization_id, session_id):
                return
            raise not_found("session", session_id)
        await self._workflow_deletion.delete(session_workflow_id(session_id))
        await self._workflow_deletion.delete(webhook_workflow_id(session_id))
        await self._erasures.erase(organization_id, session_id)
        self._session_reader.forget(session_id)
