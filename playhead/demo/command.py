"""`make demo`: a conversation that survives its worker, is rewound, and is billed once, checked by its own records.

The last line is `demo: ok, <n> turns, <n> billed, 0 lost, 0 billed twice`, with exit status 0; otherwise it says
what failed or differs, with exit status 1 (130 when it was interrupted).
"""

import argparse
import asyncio
import signal
import sys
import traceback
from time import monotonic
from typing import TYPE_CHECKING

from playhead.demo.audit import Verdict, audit
from playhead.demo.output import Screen
from playhead.demo.stack import DemoFailed
from playhead.exit_codes import FINDING, CommandFailed

if TYPE_CHECKING:
    from playhead.demo.stack import DemoFiles

MAX_SECONDS = 600.0
"""After so long the demo gives up: nothing in it waits for ever, a dozen calls of a slow model neither."""
INTERRUPTED = 130


def main() -> int:
    """Run the demo; the exit status."""
    argparse.ArgumentParser(
        prog="make demo",
        description="Hold a conversation with the booking agent, kill its worker in the middle of a reply, rewind it, "
        "and check that every turn was kept and billed once.",
    ).parse_args()
    screen = Screen()
    try:
        with asyncio.Runner() as runner:
            return runner.run(_run_until_interrupted(screen))
    except KeyboardInterrupt:
        return INTERRUPTED


async def _run_until_interrupted(screen: Screen) -> int:
    """Run the demo as a task that SIGINT and SIGTERM cancel; it ends what it started in any case."""
    running = asyncio.create_task(run_demo(screen))

    def interrupt() -> None:
        if not running.cancelling():  # once: a second Ctrl-C must not disturb the clearing up
            running.cancel()

    for told in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(told, interrupt)
    try:
        return await running
    except asyncio.CancelledError:
        screen.plain("demo: interrupted; everything it started has ended, and its folder is removed")
        return INTERRUPTED


async def run_demo(screen: Screen) -> int:
    """Show everything and check it; the exit status. Only a failure's logs are left of what it started."""
    from playhead.demo.stack import DemoFiles

    files = DemoFiles.make()
    try:
        async with asyncio.timeout(MAX_SECONDS):
            verdict = await _show(screen, files)
    except Exception as failure:
        return conclude_failure(screen, failure, files)
    except BaseException:
        files.remove()
        raise
    if verdict.is_ok:
        files.remove()
    else:
        screen.plain(f"The logs are kept in {files.keep_logs()}")
    return conclude(screen, verdict)


def conclude(screen: Screen, verdict: Verdict) -> int:
    """Print the last line; the exit status that goes with it."""
    screen.plain(verdict.line())
    return 0 if verdict.is_ok else FINDING


def conclude_failure(screen: Screen, failure: Exception, files: "DemoFiles") -> int:
    """Say why the demo did not get to its end, and where its logs are; the exit status that goes with it."""
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


async def _show(screen: Screen, files: "DemoFiles") -> Verdict:
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
        evidence = await stack.run_while_healthy(DemoScenario(stack, screen).tell())
        screen.stage("The bill")
        screen.bill(evidence.totals, is_demo_model=is_demo_model)
        screen.stage("The account: every witness on its own")
        screen.accounts(evidence)
        screen.note(f"the whole demo took {monotonic() - began:.1f} s")
    return audit(evidence)


if __name__ == "__main__":
    sys.exit(main())
