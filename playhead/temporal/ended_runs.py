"""Queries to a run that has just ended: rejected by the worker, and repeated by the client for the next run.

Without this the worker would replay the run that has ended.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from temporalio.bridge.proto.workflow_activation import RemoveFromCache, WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import Interceptor, OutboundInterceptor, QueryWorkflowInput, WorkflowQueryFailedError
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker._command_aware_visitor import CommandInfo
from temporalio.workflow import Info, _Definition

from contracts.sessions import RUN_HAS_ENDED
from playhead.temporal.wrapped_instances import WrappedInstance

REJECTED_SECONDS = 5.0
"""Time after a continue-as-new in which queries to the ended run are rejected: they were sent before its end. Later
ones, such as those of people who look at an earlier run in Temporal, are answered."""

MAX_QUERIES = 5


class SessionRunner(WorkflowRunner):
    """Runs workflows with another runner, but does not replay a run that has just continued as new on this worker.

    A query that arrives during a workflow task waits for it. If that was the last task of its run, Temporal sends the
    query to the run that has ended, and a worker takes seconds to replay a long one.
    """

    def __init__(self, runner: WorkflowRunner, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._runner = runner
        self._ended: OrderedDict[str, float] = OrderedDict()

    def prepare_workflow(self, defn: _Definition) -> None:
        """Prepare the workflow as the other runner does."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """An instance of the workflow; for a run that has just continued as new, one that rejects queries."""
        self._forget_older()
        if det.info.run_id in self._ended:
            return _RejectingInstance(det.info)
        return _WatchedInstance(self._runner.create_instance(det), self._note_end)

    def _note_end(self, run_id: str) -> None:
        self._forget_older()
        self._ended[run_id] = self._clock()

    def _forget_older(self) -> None:
        while self._ended and self._clock() - next(iter(self._ended.values())) > REJECTED_SECONDS:
            self._ended.popitem(last=False)


class _WatchedInstance(WrappedInstance):
    """An instance that calls `note_end` when its run has continued as new on this worker, not in a replay."""

    def __init__(self, instance: WorkflowInstance, note_end: Callable[[str], None]) -> None:
        super().__init__(instance)
        self._note_end = note_end
        self._continues = False

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Activate the workflow. The SDK removes it from its cache when the server has accepted its end."""
        completion = self._instance.activate(act)
        reasons = [job.remove_from_cache.reason for job in act.jobs if job.HasField("remove_from_cache")]
        if not reasons:
            commands = completion.successful.commands
            ends = any(command.HasField("continue_as_new_workflow_execution") for command in commands)
            self._continues = ends and not act.is_replaying
        elif RemoveFromCache.WORKFLOW_EXECUTION_ENDING in reasons and self._continues:
            self._note_end(act.run_id)
        return completion


class _RejectingInstance(WorkflowInstance):
    """An instance of a run that has continued as new, which fails instead of being replayed."""

    def __init__(self, info: Info) -> None:
        self._info = info

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Fail, so that the server fails the query; a run that has ended gets no other task."""
        refused = WorkflowActivationCompletion(run_id=act.run_id)
        refused.failed.failure.message = RUN_HAS_ENDED
        return refused

    def get_serialization_context(self, command_info: CommandInfo | None) -> None:
        """None: nothing is serialized."""

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        """Without a target: nothing is stored."""
        return StorageDriverStoreContext(target=None)

    def get_info(self) -> Info:
        """The info of the run."""
        return self._info


class LateQueries(Interceptor):
    """Repeats queries that were rejected because their run had ended, unless they name that run."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap the calls of one client."""
        return _AskingAgain(next)


class _AskingAgain(OutboundInterceptor):
    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        for _ in range(MAX_QUERIES - 1):
            try:
                return await super().query_workflow(input)
            except WorkflowQueryFailedError as error:
                if RUN_HAS_ENDED not in str(error) or input.run_id:
                    raise
        return await super().query_workflow(input)
