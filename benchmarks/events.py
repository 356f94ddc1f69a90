"""Events of Temporal per turn, counted from the histories of measured sessions."""

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from contracts.sessions import session_workflow_id


async def events_per_turn(client: Client, session_ids: list[str]) -> float:
    """Events of the newest runs of these sessions, divided by the messages that were answered in them."""
    events = turns = 0
    for session_id in session_ids:
        history = await client.get_workflow_handle(session_workflow_id(session_id)).fetch_history()
        events += len(history.events)
        turns += sum(
            event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED for event in history.events
        )
    return events / turns
