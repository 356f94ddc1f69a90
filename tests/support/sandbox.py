"""The SDK's workflow sandbox, which rejects clocks, randomness and I/O; only tests use it."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

PASSED_THROUGH = ("activities", "annotated_types", "pydantic", "pydantic_core", "typing_inspection")
"""Not loaded anew for each workflow. The rules in `domain` are: the sandbox watches them as well."""


def sandboxed() -> SandboxedWorkflowRunner:
    """A runner that fails a workflow task for whatever is not deterministic."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))
