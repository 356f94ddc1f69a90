"""Sessions as dograh runs: usage, cost, and a log that is built from the visible turns on request."""

from api.dograh.schemas import CostInfo, FeedbackEntry, Logs, NodeEntry, Run, RunSummary, Workflow, WorkflowSummary
from api.dograh.text_sessions import gathered_context_of, initial_context_of, state_of, usage_info_of
from domain.agents.definition import AgentDefinition
from domain.dograh.disposition import with_disposition
from domain.dograh.exporter import export_dograh
from domain.dograh.run_log import FeedbackEvent, realtime_feedback_events
from domain.sessions.views import SessionHead, TimelineView
from store.agents import AgentName, StoredAgent
from store.sessions.sessions import StoredSession


def run_of(session: StoredSession, view: TimelineView, agent: AgentDefinition) -> Run:
    """A session as a run; `agent` is the version that it is pinned to, `view` has all its turns."""
    head = view.head
    log = realtime_feedback_events(view.turns, agent.origin_of)
    return Run(
        id=session.number,
        workflow_id=session.agent_number,
        definition_id=session.agent_version,
        name=session.name,
        state=state_of(head),
        is_completed=head.is_completed,
        initial_context=initial_context_of(session, head),
        gathered_context=gathered_context_of(view, agent),
        annotations=session.annotations,
        created_at=session.created_at,
        usage_info=usage_info_of(head.usage),
        cost_info=_cost_info(head),
        logs=Logs(realtime_feedback_events=tuple(map(_entry, log))),
    )


def summary_of(session: StoredSession, head: SessionHead) -> RunSummary:
    """A session as an entry of a list, with the gathered context as it was stored."""
    return RunSummary(
        id=session.number,
        workflow_id=session.agent_number,
        name=session.name,
        state=state_of(head),
        is_completed=head.is_completed,
        created_at=session.created_at,
        definition_id=session.agent_version,
        initial_context=initial_context_of(session, head),
        gathered_context=with_disposition(head.gathered_context, head.completion_reason if head.is_completed else None),
        usage_info=usage_info_of(head.usage),
        cost_info=_cost_info(head),
    )


def workflow_of(agent: StoredAgent) -> Workflow:
    """An agent as a workflow in the form of the editor."""
    exported = export_dograh(agent.definition)
    return Workflow.model_validate(
        {
            "id": agent.number,
            "name": agent.name,
            "created_at": agent.created_at,
            "workflow_definition": exported["workflow_definition"],
            "current_definition_id": agent.version,
            "template_context_variables": exported["template_context_variables"],
            "workflow_configurations": exported["workflow_configurations"],
            "version_number": agent.version,
            "workflow_uuid": agent.id,
        }
    )


def summary_of_workflow(agent: AgentName, runs: int) -> WorkflowSummary:
    """An agent as an entry of the list of workflows."""
    return WorkflowSummary(
        id=agent.number, name=agent.name, created_at=agent.created_at, total_runs=runs, workflow_uuid=agent.id
    )


def _cost_info(head: SessionHead) -> CostInfo:
    """The cost as floats, which dograh clients expect."""
    return CostInfo(
        cost_breakdown={model: float(amount) for model, amount in head.cost.breakdown.items()},
        total_cost_usd=float(head.cost.total),
        unpriced_models=head.cost.unpriced_models,
        calculated_at=head.updated_at,
        call_duration_seconds=int(head.usage.duration_seconds),
    )


def _entry(event: FeedbackEvent) -> NodeEntry | FeedbackEntry:
    """An entry of the log; only entries of nodes have the fields of a node."""
    form = FeedbackEntry if event.node_id is None else NodeEntry
    return form.model_validate(event, from_attributes=True)
