"""Replays recorded histories of earlier versions with the present code, as a release does with running sessions."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle, NondeterminismError

from contracts.sessions import GenerateStepInput
from contracts.tools import CallToolInput
from playhead.temporal.client import PlayheadPlugin
from tests.replay.record import HISTORIES, recorded
from tests.replay.scenarios import CHANGED, SCENARIOS
from tests.replay.suite_scenarios import SUITE_SCENARIOS
from workflows.session.workflow import SessionWorkflow
from workflows.suite.workflow import SuiteWorkflow

REPLAYED = sorted(file for file in HISTORIES.glob("*.json") if file.name != f"{CHANGED}.json")


def _step(data: bytes) -> str:
    asked = GenerateStepInput.model_validate_json(data)
    place = (asked.turn_id, asked.step, asked.agent, asked.model, asked.node_id, asked.withheld, asked.reply_format)
    return f"{place} {[message.model_dump_json() for message in asked.messages]}"


def _tool_call(data: bytes) -> str:
    call = CallToolInput.model_validate_json(data)
    return f"{call.turn_id} {call.call_id.split('.')[:3]} {call.tool} {call.arguments}"


IDENTITY = {"generate_step": _step, "extract_variables": _step, "call_tool": _tool_call}
"""Fields that identify a call, without digests: those of the oldest histories are longer than those of today."""


class AskedActivities(Interceptor):
    """Records the inputs of the model and tool calls of a replayed workflow."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        calls = self.calls

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
                if input.activity in IDENTITY:
                    calls.append((input.activity, IDENTITY[input.activity](input.args[0].model_dump_json().encode())))
                return super().start_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound


RISK_AND_REMEDY = """
The workflow no longer makes the decisions that stand in {name}.

The risk: sessions and suites that are open now have histories like this one. A worker with the present code would fail
every workflow task of theirs with this error, and they would stand still until it is rolled back.

The remedy: let old sessions take the old path. Put the change behind `workflow.patched("a-name")`, or release it under
a new build id (PLAYHEAD_BUILD_ID), so that open sessions stay with the workers they began on.
Never edit this history, nor record it again, to make the test pass: nobody can edit those of running sessions. Add a
scenario to tests/replay/scenarios.py or suite_scenarios.py instead and record it with `python -m tests.replay.record`.

What Temporal says: {error}
"""


def history_in(file: Path) -> WorkflowHistory:
    """A recorded history, under the workflow id that it was recorded with: a session checks its own."""
    history = json.loads(file.read_text())
    started = history["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], history)


async def replayed(file: Path) -> Exception | None:
    """Replay a history as a worker would, and return the failure if there is one."""
    replayer = Replayer(workflows=[SessionWorkflow, SuiteWorkflow], plugins=[PlayheadPlugin()])
    return (await replayer.replay_workflow(history_in(file), raise_on_replay_failure=False)).replay_failure


@pytest.mark.parametrize("file", REPLAYED, ids=lambda file: file.stem)
async def test_a_history_of_an_earlier_version_is_replayed(file: Path) -> None:
    error = await replayed(file)
    if error is not None:
        pytest.fail(RISK_AND_REMEDY.format(name=file.name, error=error), pytrace=False)


async def test_the_history_of_a_changed_workflow_fails_the_replay() -> None:
    [file] = recorded(CHANGED)
    assert isinstance(await replayed(file), NondeterminismError), "the replay check cannot fail, so it shows nothing"


@pytest.mark.parametrize(
    "file", [file for file in REPLAYED if not file.name.startswith("suite")], ids=lambda file: file.stem
)
async def test_every_model_and_tool_call_of_a_replay_matches_its_recorded_result(file: Path) -> None:
    """Temporal gives a recorded result to the activity at the same position, whatever its input."""
    asked = AskedActivities()
    replayer = Replayer(workflows=[SessionWorkflow], plugins=[PlayheadPlugin()], interceptors=[asked])
    history = history_in(file)
    await replayer.replay_workflow(history)
    recorded_inputs = [
        (scheduled.activity_type.name, scheduled.input.payloads[0].data)
        for event in history.events
        if (scheduled := event.activity_task_scheduled_event_attributes).activity_type.name in IDENTITY
    ]
    recorded_calls = [(name, IDENTITY[name](data)) for name, data in recorded_inputs]
    assert asked.calls[: len(recorded_calls)] == recorded_calls


def test_every_scenario_has_its_history() -> None:
    missing = [name for name in (*SCENARIOS, *SUITE_SCENARIOS) if not recorded(name)]
    assert not missing, f"record them with `python -m tests.replay.record {' '.join(missing)}`"


def test_the_histories_take_every_path() -> None:
    happened = {
        EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        for file in REPLAYED
        for event in history_in(file).events
    }
    assert happened >= {
        "ACTIVITY_TASK_FAILED",
        "CHILD_WORKFLOW_EXECUTION_STARTED",
        "TIMER_CANCELED",
        "TIMER_FIRED",
        "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
        "WORKFLOW_EXECUTION_COMPLETED",
        "WORKFLOW_EXECUTION_CONTINUED_AS_NEW",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
    }


def test_the_histories_hold_every_activity_and_every_update() -> None:
    events = [event for file in REPLAYED for event in history_in(file).events]
    activities = {event.activity_task_scheduled_event_attributes.activity_type.name for event in events}
    assert activities >= {"generate_step", "extract_variables", "call_tool", "settle_turns"}
    assert activities >= {"begin_run", "price_run", "judge_session", "record_run", "note_suite", "await_sessions"}
    accepted = [event.workflow_execution_update_accepted_event_attributes for event in events]
    updates = {each.accepted_request.input.name for each in accepted}
    assert updates >= {"send_message", "rewind", "end", "approve", "deny", "await_greeting"}
    assert updates >= {"pause", "resume", "cancel"}


def test_no_history_names_the_machine_it_was_recorded_on() -> None:
    texts = {file.name: file.read_text() for file in sorted(HISTORIES.glob("*.json"))}
    assert texts
    assert [name for name, text in texts.items() if '"stackTrace"' in text or '"identity"' in text] == []
