"""Session responses: constant data from the store, the rest from a snapshot, with its turns already encoded."""

from datetime import datetime

from starlette.responses import Response

from api.schemas.responses import CalculatedCost, SessionSummary, TemporalLink
from api.sessions.snapshots import Snapshot
from contracts.sessions import session_workflow_id
from domain.dograh.disposition import disposition_in, tags_of
from domain.sessions.views import SessionHead
from store.sessions.sessions import StoredSession


class SessionRenderer:
    """Builds session responses, with links to the Temporal UI when its URL is known."""

    def __init__(self, *, namespace: str, ui_url: str | None) -> None:
        self._workflows_url = f"{ui_url.rstrip('/')}/namespaces/{namespace}/workflows" if ui_url else None

    def session(self, session: StoredSession, snapshot: Snapshot, *, status: int = 200) -> Response:
        """A whole session as a response."""
        headers = {"Location": f"/v1/sessions/{session.id}"} if status in (201, 202) else None
        content = self.body(session, snapshot)
        return Response(content, status_code=status, headers=headers, media_type="application/json")

    def body(self, session: StoredSession, snapshot: Snapshot) -> bytes:
        """A whole session as JSON, written around its turns, which are already encoded."""
        head = snapshot.head
        count = head.turns_before + len(snapshot.turns)
        summary = self.summary(session, head, snapshot.as_of, count).model_dump_json()
        return b"".join(
            (
                summary[:-1].encode(),
                b',"turns_before":%d,"turns":[' % head.turns_before,
                b",".join(snapshot.turns),
                b'],"discarded_branches":[',
                snapshot.branches,
                b"]}",
            )
        )

    def summary(self, session: StoredSession, head: SessionHead, as_of: datetime, turn_count: int) -> SessionSummary:
        """A session without its turns."""
        return SessionSummary.model_validate(
            {
                "id": session.id,
                "workflow_run_id": session.number,
                "agent_id": session.agent_id,
                "agent_version": session.agent_version,
                "agent_name": session.agent_name,
                "model": session.model,
                "name": session.name,
                "suite_id": session.suite_id,
                "status": head.status,
                "revision": head.revision,
                "cursor_turn_id": head.cursor_turn_id,
                "current_node_id": head.current_node_id,
                "is_completed": head.is_completed,
                "completion_reason": head.completion_reason,
                "disposition": disposition_in(head.gathered_context, head.completion_reason),
                "tags": tags_of(head.gathered_context, head.completion_reason),
                "initial_context": {**session.initial_context, **head.fetched_context},
                "approvals": head.approvals,
                "client_calls": head.client_calls,
                "forked_from": head.forked_from,
                "turn_count": turn_count,
                "gathered_context": head.gathered_context,
                "annotations": session.annotations,
                "simulator": head.simulator.model_dump(mode="json") if head.simulator else session.simulator,
                "usage": head.usage,
                "cost": CalculatedCost.of(head.cost, at=head.updated_at),
                "created_at": session.created_at,
                "updated_at": head.updated_at,
                "as_of": as_of,
                "temporal": self._link(session.id, head.run_id),
            }
        )

    def recorded_summary(self, session: StoredSession, turn_count: int) -> bytes:
        """A session of a list, as last recorded."""
        if session.head is None or session.recorded_at is None:
            raise LookupError(f"the session {session.id} is listed, but was never recorded")
        return self.summary(session, session.head, session.recorded_at, turn_count).model_dump_json().encode()

    def _link(self, session_id: str, run_id: str) -> TemporalLink:
        workflow_id = session_workflow_id(session_id)
        url = f"{self._workflows_url}/{workflow_id}" if self._workflows_url else None
        if url and run_id:
            url = f"{url}/{run_id}/history"
        return TemporalLink(workflow_id=workflow_id, run_id=run_id or None, ui_url=url)
