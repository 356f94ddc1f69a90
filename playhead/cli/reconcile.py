"""`playhead reconcile`: compares the store with Temporal, and repairs what can be repaired."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from playhead.cli.agents import AsJson
from playhead.cli.database import run_on_store
from playhead.cli.services import settings_of_environment
from playhead.exit_codes import FINDING, UNREACHABLE, CommandFailed

if TYPE_CHECKING:
    from contracts.reconciliation import ReconciliationResult
    from store.database.connection import Database

WAIT_SECONDS = 15.0
"""Longest wait for a running session to agree with its record."""


def reconcile(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what differs; change nothing.")] = False,
    accept_new_temporal: Annotated[
        bool,
        typer.Option(
            "--accept-new-temporal",
            help="Close the open sessions of the store although Temporal knows none of them: its data is lost.",
        ),
    ] = False,
    min_age: Annotated[
        int,
        typer.Option(metavar="SECONDS", help="Age before which a session that has no workflow is left alone.", min=0),
    ] = 120,
    json: AsJson = False,
) -> None:
    """Compare the store with Temporal, and repair what can be repaired.

    Reads the settings of a worker. Needs the store and Temporal, and a running worker to query sessions for what the
    store lacks. It can be repeated, also while everything runs. After a restore it shows how far both are apart.
    """
    from activities.reconciler import ReconcilerOptions
    from playhead.output.tables import print_json
    from playhead.temporal.client import TemporalUnavailable

    options = ReconcilerOptions(
        is_thorough=True,
        accepts_new_temporal=accept_new_temporal,
        only_looks=dry_run,
        is_bounded=False,
        wait_seconds=WAIT_SECONDS,
        grace=timedelta(seconds=min_age),
    )

    async def work(database: "Database") -> "ReconciliationResult":
        from contracts.reconciliation import ReconciliationResult
        from playhead.services.live_streaming import worker_subscribers
        from playhead.services.reconciliation import build_reconciler
        from playhead.temporal.client import connect, outages_as_unavailable
        from playhead.temporal.large_payloads import with_large_payloads

        settings = settings_of_environment()
        with outages_as_unavailable(settings):
            client = await connect(settings)
            client = with_large_payloads(client, database, threshold=settings.payload_offload_threshold_bytes)
            async with worker_subscribers(database) as subscribers:
                reconciler = build_reconciler(client, database, settings.task_queue, subscribers)
                return await reconciler.reconcile(ReconciliationResult(), None, options)

    try:
        result = run_on_store(work)
    except TemporalUnavailable as error:
        raise CommandFailed(f"Temporal cannot be reached: {error}", status=UNREACHABLE) from error
    if json:
        print_json(result.model_dump(mode="json", include=_SHOWN))
    else:
        _print(result)
    left = [finding for finding in result.findings if finding.done == "left"]
    if result.rejection:
        raise CommandFailed(result.rejection, status=FINDING)
    if left:
        raise typer.Exit(FINDING)


_SHOWN = {"sessions", "suites", "turns_in_store", "turns_in_temporal", "counts", "findings", "rejection"}


def _print(result: "ReconciliationResult") -> None:
    from rich.markup import escape

    from playhead.output.tables import table

    rows = [
        (
            finding.subject,
            escape(finding.id),
            finding.found,
            _number(finding.turns_in_store),
            _number(finding.turns_in_temporal),
            str(finding.billed or ""),
            finding.done,
        )
        for finding in result.findings
    ]
    columns = ("OF", "ID", "FOUND", "TURNS IN STORE", "IN TEMPORAL", "BILLED", "DONE")
    table(columns, rows, empty="The store and Temporal agree.")
    total = sum(result.counts.values())
    if total > len(rows):
        sys.stdout.write(f"... and {total - len(rows)} more\n")
    sys.stdout.write(
        f"Looked at {result.sessions} open session(s) and {result.suites} suite(s). Of those that were compared the "
        f"store has {result.turns_in_store} turn(s), Temporal {result.turns_in_temporal}.\n"
    )


def _number(turns: int | None) -> str:
    return "" if turns is None else str(turns)
