"""The order in which a workflow sees what happens, the same in a worker that has forgotten it as in every replay.

Temporal's core takes a workflow task for a heartbeat if it left no commands and the next one follows at once, as one
that only brings an update does. A worker that has forgotten the workflow then hands both over together, the update
first. A later replay knows from the events after them that they were two. It meets other commands than it expects, and
the workflow stands still (https://github.com/temporalio/sdk-rust/issues/1146).
"""

from temporalio.api.common.v1 import Memo, Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import ModifyWorkflowProperties, WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.workflow import _Definition

from playhead.temporal.wrapped_instances import WrappedInstance

QUIET_TASKS_ARE_MARKED = 1_146
"""The flag, in the history of a run, that its quiet tasks are marked from here on: older histories replay without."""
MARK = "task"
"""The key of the memo that a mark removes; there is none, so that it changes nothing."""

LEAVE_NO_TRACE = ("do_update", "query_workflow", "remove_from_cache", "notify_has_patch")
"""Jobs that have no event of their own before their task. An accepted update leaves a command."""
COMMANDS_WITHOUT_EVENT = (
    "schedule_local_activity",
    "respond_to_query",
    # An event where what they cancel is still there.
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
        """Nothing is to be prepared."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """An instance that marks its quiet tasks."""
        return _OrderedInstance(self._runner.create_instance(det))


class _OrderedInstance(WrappedInstance):
    """An instance whose tasks cannot be taken for heartbeats: where one might be, it leaves a mark, which is an event.

    That is a task which took something in and left no command, where the one before it left none either, or where there
    may have been a task of a rejected update between them, which leaves nothing else.
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
        """Have the workflow go on, and mark its task if nothing else shows that there was one."""
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
        """True if no command was left since the task before, whichever that was."""
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
