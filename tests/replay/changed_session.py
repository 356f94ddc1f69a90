"""A session workflow with an incompatible change, whose replay must fail."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from contracts.sessions import SessionResult, StartSession

from workflows.session.workflow import SessionWorkflow


@workflow.defn(name="Session")
class ChangedSession(SessionWorkflow):
    """Waits a moment before it greets; nothing else is different."""

    @workflow.init
    def __init__(self, start: StartSession) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartSession) -> SessionResult:
        """Pause, then run as any session."""
        await workflow.sleep(timedelta(milliseconds=1))
        return await super().run(start)
