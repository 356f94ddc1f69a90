"""The session and suite workflows of a build with a defect."""

from temporalio import workflow

from contracts.sessions import SessionResult, StartSession
from contracts.suites import StartSuite, SuiteResult
from workflows.session.workflow import SessionWorkflow
from workflows.suite.workflow import SuiteWorkflow

DEFECT = "this build is broken"


@workflow.defn(name="Session")
class BrokenSession(SessionWorkflow):
    """A session of a build with a defect."""

    @workflow.init
    def __init__(self, start: StartSession) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartSession) -> SessionResult:
        raise RuntimeError(DEFECT)


@workflow.defn(name="Suite")
class BrokenSuite(SuiteWorkflow):
    """A suite of a build with a defect."""

    @workflow.init
    def __init__(self, start: StartSuite) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartSuite) -> SuiteResult:
        raise RuntimeError(DEFECT)
