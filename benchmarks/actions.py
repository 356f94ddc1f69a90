"""Billable actions of Temporal Cloud, counted in workflow histories, and the server's own count of them.

`python -m benchmarks.actions HISTORY.json ...` counts those of exported histories.

https://docs.temporal.io/cloud/actions defines actions: starts of workflows (continue-as-new and child
workflows too), activities and their retries, timers, signals, updates, queries, heartbeats, changes of search
attributes, and the markers of local activities, once for each workflow task. Queries, heartbeats and rejected updates
are in no history; the server counts them in its metric `action`.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

BY_EVENT = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: "workflow starts",
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: "child workflows",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: "signals",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: "updates",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED: "options",
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: "activities",
    EventType.EVENT_TYPE_TIMER_STARTED: "timers",
}
VERSION_ATTRIBUTE = "TemporalChangeVersion"
"""A search attribute of the SDK, whose changes are free."""
NAMESPACE = "default"


def history_actions(events: Iterable[HistoryEvent]) -> Counter[str]:
    """The actions of one run, by kind."""
    counted: Counter[str] = Counter()
    with_markers: set[int] = set()
    for event in events:
        if kind := BY_EVENT.get(event.event_type):
            counted[kind] += 1
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            counted["retries"] += max(event.activity_task_started_event_attributes.attempt - 1, 0)
        elif event.event_type == EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
            changed = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
            counted["search attributes"] += set(changed) != {VERSION_ATTRIBUTE}
        elif event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
            with_markers.add(event.marker_recorded_event_attributes.workflow_task_completed_event_id)
    counted["markers"] += len(with_markers)
    return +counted


def server_actions(metrics_url: str) -> Counter[str]:
    """The server's own count since it was started, by kind. It lags by a second or two."""
    with urlopen(metrics_url) as answer:
        text: str = answer.read().decode()
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in ("action", "action_total") and sample.labels["namespace"] == NAMESPACE:
                counted[sample.labels["action_type"]] += int(sample.value)
    return +counted


def main() -> None:
    """Print the actions of exported histories."""
    for name in sys.argv[1:]:
        history = WorkflowHistory.from_json(Path(name).stem, Path(name).read_text())
        counted = history_actions(history.events)
        kinds = ", ".join(f"{number} {kind}" for kind, number in counted.most_common())
        print(f"{name}: {counted.total()} ({kinds})")


if __name__ == "__main__":
    main()
