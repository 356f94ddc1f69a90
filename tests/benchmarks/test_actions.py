"""The billable actions of Temporal Cloud, counted from histories."""

from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import (
    ActivityTaskStartedEventAttributes,
    HistoryEvent,
    MarkerRecordedEventAttributes,
    UpsertWorkflowSearchAttributesEventAttributes,
)

from benchmarks.actions import history_actions


def started(attempt: int) -> HistoryEvent:
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
        activity_task_started_event_attributes=ActivityTaskStartedEventAttributes(attempt=attempt),
    )


def marker(task: int) -> HistoryEvent:
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_MARKER_RECORDED,
        marker_recorded_event_attributes=MarkerRecordedEventAttributes(workflow_task_completed_event_id=task),
    )


def upsert(*names: str) -> HistoryEvent:
    changed = SearchAttributes(indexed_fields={name: Payload() for name in names})
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        upsert_workflow_search_attributes_event_attributes=UpsertWorkflowSearchAttributesEventAttributes(
            search_attributes=changed
        ),
    )


def test_an_activity_counts_once_and_each_retry_of_it_too() -> None:
    scheduled = HistoryEvent(event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    assert history_actions([scheduled, started(1), scheduled, started(3)]) == {"activities": 2, "retries": 2}


def test_the_markers_of_one_workflow_task_count_once() -> None:
    assert history_actions([marker(4), marker(4), marker(9)]) == {"markers": 2}


def test_search_attributes_count_once_per_change_and_those_of_the_sdk_are_free() -> None:
    events = [upsert("PlayheadStatus", "PlayheadNode"), upsert("TemporalChangeVersion")]
    assert history_actions(events) == {"search attributes": 1}


def test_workflow_tasks_are_free() -> None:
    free = (EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
    assert not history_actions([HistoryEvent(event_type=each) for each in free])
