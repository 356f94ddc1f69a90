"""`make demo`: a conversation that survives a killed worker and a rewind, and an audit of its records.

The last line is `demo: ok, <n> turns, <n> billed, 0 lost, 0 billed twice`, with exit status 0. Otherwise it describes
the failure or mismatch, with exit status 1 (130 after an interrupt).
"""

import argparse
import asyncio
import signal
import sys
import traceback
from time import monotonic
from typing import TYPE_CHECKING

from playhead.demo.audit import AuditResult, audit
from playhead.demo.output import Screen
from playhead.demo.stack import DemoFailed
from playhead.exit_codes import FINDING, CommandFailed
from playhead.output.plain_text import make_output_plain

if TYPE_CHECKING:
    from playhead.demo.stack import DemoFiles

MAX_SECONDS = 600.0
"""Upper bound on the duration of the demo, long enough for a dozen calls of a slow model."""
INTERRUPTED = 130


def main() -> int:
    """Run the demo; returns the exit status."""
    argparse.ArgumentParser(
        prog="make demo",
        description="Hold a conversation with the booking agent, kill its worker in the middle of a reply, rewind it, "
        "and check that every turn was kept and billed once.",
    ).parse_args()
    make_output_plain()
    screen = Screen()
    try:
        with asyncio.Runner() as runner:
            return runner.run(_run_until_interrupted(screen))
    except KeyboardInterrupt:
        return INTERRUPTED


async def _run_until_interrupted(screen: Screen) -> int:
    """Run the demo as a task that SIGINT and SIGTERM cancel, so that it always ends its services."""
    running = asyncio.create_task(run_demo(screen))

    def interrupt() -> None:
        if not running.cancelling():  # once: a second Ctrl-C must not interrupt the clean-up
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    try:
        return await running
    except asyncio.CancelledError:
        screen.plain("demo: interrupted; everything it started has ended, and its folder is removed")
        return INTERRUPTED


async def run_demo(screen: Screen) -> int:
    """Run the scenario and the audit; returns the exit status. Only the logs of a failure are kept."""
    from playhead.demo.stack import DemoFiles

    files = DemoFiles.make()
    try:
        async with asyncio.timeout(MAX_SECONDS):
            result = await _show(screen, files)
    except Exception as failure:
        return conclude_failure(screen, failure, files)
    except BaseException:
        files.remove()
        raise
    if result.is_ok:
        files.remove()
    else:
        screen.plain(f"The logs are kept in {files.keep_logs()}")
    return conclude(screen, result)


def conclude(screen: Screen, result: AuditResult) -> int:
    """Print the last line; returns the exit status."""
    screen.plain(result.summary())
    return 0 if result.is_ok else FINDING


def conclude_failure(screen: Screen, failure: Exception, files: "DemoFiles") -> int:
    """Print why the demo failed and where its logs are; returns the exit status."""
    if isinstance(failure, TimeoutError):
        reason, details = f"it took longer than {MAX_SECONDS:g} seconds", ""
    elif isinstance(failure, DemoFailed):
        reason, details = str(failure), failure.details
    elif isinstance(failure, CommandFailed):
        reason, details = failure.message, failure.hint or ""
    else:
        reason, details = f"{type(failure).__name__}: {failure}", ""
        files.log_file("demo").write_text("".join(traceback.format_exception(failure)))
    if details:
        screen.plain(details)
    screen.plain(f"The logs are kept in {files.keep_logs()}")
    screen.plain(f"demo: failed, {' '.join(reason.split())}")
    return FINDING


async def _show(screen: Screen, files: "DemoFiles") -> AuditResult:
    from playhead.config.settings import InvalidSettings, load_settings
    from playhead.demo.scenario import DemoScenario
    from playhead.demo.stack import running_stack
    from playhead.demo_model import DEMO_MODEL

    try:
        model = load_settings().model
    except InvalidSettings as error:
        raise DemoFailed(" ".join(error.lines)) from None
    is_demo_model = model == DEMO_MODEL
    screen.introduce(model, is_demo_model=is_demo_model)
    began = monotonic()
    screen.stage("Temporal, the API and a worker are started, each as a process of its own")
    async with running_stack(files, model) as stack:
        screen.note(f"ready after {monotonic() - began:.1f} s, in {files.folder}")
        evidence = await stack.run_while_healthy(DemoScenario(stack, screen).run())
        screen.stage("The bill")
        screen.bill(evidence.totals, is_demo_model=is_demo_model)
        screen.stage("The audit: each record read independently")
        screen.accounts(evidence)
        screen.note(f"the whole demo took {monotonic() - began:.1f} s")
    return audit(evidence)


if __name__ == "__main__":
    sys.exit(main())
