"""Workflow instances that wrap those of the SDK."""

from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance
from temporalio.worker._command_aware_visitor import CommandInfo
from temporalio.workflow import Info


class WrappedInstance(WorkflowInstance):
    """An instance that delegates everything but its activation to another one."""

    def __init__(self, instance: WorkflowInstance) -> None:
        self._instance = instance

    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        """The serialization context of the wrapped instance."""
        return self._instance.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        """The external store context of the wrapped instance."""
        return self._instance.get_external_store_context(command_info)

    def get_info(self) -> Info:
        """The info of the wrapped instance."""
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        """The thread id of the wrapped instance."""
        return self._instance.get_thread_id()
