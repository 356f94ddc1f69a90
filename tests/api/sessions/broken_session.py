"""The session workflow of a build with a defect."""

from temporalio import workflow

from contracts.sessions import SessionResult, StartSession
from workflows.session.workflow import SessionWorkflow


@workflow.defn(name="Session")
class BrokenSession(SessionWorkflow):
    """A session of a build with a defect."""

    @workflow.init
    def __init__(self, start: StartSession) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartSession) -> SessionResult:
        raise RuntimeError("this build is broken")
