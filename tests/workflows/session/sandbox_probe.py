"""A session workflow that returns the modules loaded in its sandbox."""

import sys

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from contracts.sessions import SessionResult, StartSession

from workflows.session.workflow import SessionWorkflow


@workflow.defn(name="ProbedSession")
class ProbedSession(SessionWorkflow):
    """The session workflow with one more question."""

    @workflow.init
    def __init__(self, start: StartSession) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartSession) -> SessionResult:
        """Run as any session."""
        return await super().run(start)

    @workflow.query
    def loaded(self) -> list[str]:
        """The packages that the sandbox of this workflow has."""
        return sorted({name.partition(".")[0] for name in sys.modules})
