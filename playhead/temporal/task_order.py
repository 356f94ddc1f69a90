"""The order in which a workflow receives its jobs: the same after an eviction from the cache as in every replay.

Temporal's core takes a workflow task for a heartbeat if it left no commands and the next task follows at once, as one
that only brings an update does. A worker that has evicted the workflow then activates it for both together, the update
first. A later replay sees from the events after them that they were two tasks. Its commands do not match the history,
and the workflow is stuck (https://github.com/temporalio/sdk-rust/issues/1146).
"""

from temporalio.api.common.v1 import Memo, Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import ModifyWorkflowProperties, WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.workflow import _Definition

from playhead.temporal.wrapped_instances import WrappedInstance

QUIET_TASKS_ARE_MARKED = 1_146
"""The flag in a run's history that its quiet tasks are marked from there on: older histories replay without marks."""
MARK = "task"
"""The memo key that a mark removes. The memo never has it, so that a mark changes nothing."""

LEAVE_NO_TRACE = ("do_update", "query_workflow", "remove_from_cache", "notify_has_patch")
"""Jobs that have no event of their own before their task. An accepted update leaves a command."""
COMMANDS_WITHOUT_EVENT = (
    "schedule_local_activity",
    "respond_to_query",
    # These have an event only if what they cancel still exists.
    "cancel_timer",
    "request_cancel_activity",
    "request_cancel_local_activity",
    "cancel_child_workflow_execution",
)
EVENTS_OF_ACTIVITY = 2
EVENTS_OF_TASK = 3


class OrderedRunner(WorkflowRunner):
    """Runs workflows outside the SDK's sandbox, in an order that every replay repeats."""

    def __init__(self) -> None:
        self._runner = UnsandboxedWorkflowRunner()

    def prepare_workflow(self, defn: _Definition) -> None:
        """Prepare the workflow as the SDK's runner does."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """An instance that marks its quiet tasks."""
        return _OrderedInstance(self._runner.create_instance(det))


class _OrderedInstance(WrappedInstance):
    """An instance whose tasks cannot be taken for heartbeats: where one might be, it leaves a mark, which is an event.

    A task gets a mark if it received jobs and left no command, and if the task before it left none either or a task of
    a rejected update, which leaves nothing else, may have been between them.
    """

    def __init__(self, instance: WorkflowInstance) -> None:
        super().__init__(instance)
        self._local_activities = 0
        """Local activities under way."""
        self._history_length = 0
        """The length of the history at the newest task."""
        self._commands = 0
        """The events of the commands of that task."""

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Activate the workflow, and mark its task if nothing else shows that there was one."""
        completion = self._instance.activate(act)
        if not completion.HasField("successful"):
            return completion
        self._local_activities += _scheduled_local_activities(completion) - _resolved_local_activities(act)
        commands = sum(map(_has_event, completion.successful.commands)) + _resolved_local_activities(act)
        takes_something_in = any(map(_is_taken_in, act.jobs))
        if not (commands or takes_something_in):
            return completion
        is_quiet = takes_something_in and not commands and not self._local_activities
        if is_quiet and self._may_be_taken_for_heartbeat(act) and self._ensure_flag(act, completion):
            completion.successful.commands.append(_mark())
            commands = 1
        is_same_task = act.history_length == self._history_length
        self._commands = commands + (self._commands if is_same_task else 0)
        self._history_length = act.history_length
        return completion

    def _may_be_taken_for_heartbeat(self, act: WorkflowActivation) -> bool:
        """True if the task before left no command, or if a task of a rejected update may have been in between."""
        if not self._commands:
            return True
        explained = EVENTS_OF_TASK + self._commands + sum(map(_events_of, act.jobs))
        return act.history_length - self._history_length - explained >= EVENTS_OF_TASK

    @staticmethod
    def _ensure_flag(act: WorkflowActivation, completion: WorkflowActivationCompletion) -> bool:
        """Set the flag of the history if this task is new; True where it is set."""
        if QUIET_TASKS_ARE_MARKED in act.available_internal_flags:
            return True
        if act.is_replaying:
            return False
        completion.successful.used_internal_flags.append(QUIET_TASKS_ARE_MARKED)
        return True


def _is_taken_in(job: WorkflowActivationJob) -> bool:
    return job.WhichOneof("variant") not in LEAVE_NO_TRACE and not _is_local(job)


def _is_local(job: WorkflowActivationJob) -> bool:
    return job.HasField("resolve_activity") and job.resolve_activity.is_local


def _events_of(job: WorkflowActivationJob) -> int:
    if not _is_taken_in(job):
        return 0
    return EVENTS_OF_ACTIVITY if job.HasField("resolve_activity") else 1


def _has_event(command: WorkflowCommand) -> bool:
    if command.HasField("update_response"):
        return not command.update_response.HasField("rejected")
    return command.WhichOneof("variant") not in COMMANDS_WITHOUT_EVENT


def _scheduled_local_activities(completion: WorkflowActivationCompletion) -> int:
    return sum(each.HasField("schedule_local_activity") for each in completion.successful.commands)


def _resolved_local_activities(act: WorkflowActivation) -> int:
    """Each leaves a marker, without a command of the workflow's."""
    return sum(map(_is_local, act.jobs))


def _mark() -> WorkflowCommand:
    nothing = Memo(fields={MARK: Payload()})
    return WorkflowCommand(modify_workflow_properties=ModifyWorkflowProperties(upserted_memo=nothing))
