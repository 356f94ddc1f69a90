"""Records the histories that the replay tests replay, on a real Temporal server.

    python -m tests.replay.record             record the scenarios that have no history yet
    python -m tests.replay.record signals     only these

An existing history is never recorded again: sessions like it may be running somewhere. Delete the file first if
you know that no released worker has ever run the code that it was recorded with.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temporalio.client import Client, WorkflowHistory
from temporalio.testing import WorkflowEnvironment

from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.dev_server import server_program
from store.database.connection import Database
from tests.conftest import PROMPT_TIMERS
from tests.replay.scenarios import CHANGED, CHANGED_SCENARIO, SCENARIOS, Scenario
from tests.replay.suite_scenarios import SUITE_SCENARIOS, SuiteScenario
from tests.support.provider import model_provider
from tests.support.session_stack import SessionStack, session_worker, store_in
from tests.workflows.suite.suite_stack import Players, SuiteStack, suite_worker
from workflows.search_attributes import ALL

HISTORIES = Path(__file__).parent / "histories"
NOT_KEPT = {"stackTrace", "identity"}
"""Parts of a history that depend on the recording machine and not on the workflow."""


async def main(names: list[str]) -> int:
    """Record what is missing, and return the exit status."""
    known: dict[str, Scenario | SuiteScenario] = {**SCENARIOS, CHANGED: CHANGED_SCENARIO, **SUITE_SCENARIOS}
    unknown = sorted(set(names) - set(known))
    if unknown:
        sys.stderr.write(f"There is no scenario {', '.join(unknown)}; known are {', '.join(known)}.\n")
        return 2
    logging.getLogger("temporalio").setLevel(logging.ERROR)
    HISTORIES.mkdir(exist_ok=True)
    for name in names or known:
        if recorded(name):
            sys.stdout.write(f"{name}: is there, and is kept\n")
            continue
        files = await record(name, known[name])
        sys.stdout.write(f"{name}: recorded in {', '.join(file.name for file in files)}\n")
    return 0


def recorded(name: str) -> list[Path]:
    """The histories of a scenario, one for each run of its workflow."""
    return sorted([*HISTORIES.glob(f"{name}.json"), *HISTORIES.glob(f"{name}.[0-9].json")])


async def record(name: str, scenario: Scenario | SuiteScenario) -> list[Path]:
    """Hold a scenario's conversation, or run its suite, and write down the history of every run of its workflow."""
    async with server_for(scenario) as client, model_provider() as provider:
        os.environ.update(OPENAI_BASE_URL=provider.base_url, OPENAI_API_KEY="a key of the tests")
        with TemporaryDirectory() as folder:
            async with store_in(Path(folder)) as database:
                if isinstance(scenario, SuiteScenario):
                    runs = await runs_of_suite(scenario, client, database)
                else:
                    stack = SessionStack.on(client, database, "playhead")
                    async with session_worker(stack, workflow=scenario.workflow):
                        session = await scenario.story(stack, provider)
                        runs = await runs_of(session.stack.client, session.workflow_id)
    several = len(runs) > 1
    files = [HISTORIES / (f"{name}.{number}.json" if several else f"{name}.json") for number in range(1, len(runs) + 1)]
    for file, run in zip(files, runs, strict=True):
        kept = without(NOT_KEPT, json.loads(run.to_json()))
        file.write_text(json.dumps(kept, separators=(",", ":"), sort_keys=True) + "\n")
    return files


@asynccontextmanager
async def server_for(scenario: Scenario | SuiteScenario) -> AsyncIterator[Client]:
    """A server of its own, in memory."""
    limit = scenario.events_per_run
    suggestion = f"limit.historyCount.suggestContinueAsNew={limit}"
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_program()),
        search_attributes=list(ALL),
        dev_server_log_level="error",
        dev_server_extra_args=[*PROMPT_TIMERS, *(["--dynamic-config-value", suggestion] if limit else [])],
        plugins=[PlayheadPlugin()],
    )
    try:
        yield server.client
    finally:
        await server.shutdown()


async def runs_of_suite(scenario: SuiteScenario, client: Client, database: Database) -> list[WorkflowHistory]:
    """The histories of a suite whose sessions and judges are played."""
    players = Players(database)
    stack = SuiteStack(client, database, "playhead")
    async with suite_worker(stack, players):
        suite = await scenario.story(stack, players)
        return await runs_of(client, suite.handle.id)


async def runs_of(client: Client, workflow_id: str) -> list[WorkflowHistory]:
    """The histories of all runs of a workflow, first to last."""
    runs = [await client.get_workflow_handle(workflow_id).fetch_history()]
    while earlier := runs[0].events[0].workflow_execution_started_event_attributes.continued_execution_run_id:
        runs.insert(0, await client.get_workflow_handle(workflow_id, run_id=earlier).fetch_history())
    return runs


def without(names: set[str], written: Any) -> Any:
    """JSON without the fields of these names, however deep."""
    if isinstance(written, dict):
        return {name: without(names, value) for name, value in written.items() if name not in names}
    if isinstance(written, list):
        return [without(names, value) for value in written]
    return written


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
