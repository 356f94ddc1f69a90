"""Streams of suites: the suite with its progress, and every run whose record changes, until the suite is over."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Final

from api.http.problems import invalid, not_found
from api.http.sse import KEEPALIVE, format_event
from api.schemas.suites import Suite
from api.suites.rendering import SuiteRenderer
from api.suites.runs import LATE, SuiteRuns
from store.suites import StoredSuite, SuiteStore

POLL_SECONDS: Final = 1.0
"""Seconds between two reads of the records of a suite."""
MAX_EVENT_ID: Final = 10**14
"""Ids are milliseconds: this one is in the year 5138."""


class SuiteStreams:
    """Streams the records of suites. Each stream reads the short records of one suite once a second."""

    def __init__(
        self, suites: SuiteStore, runs: SuiteRuns, renderer: SuiteRenderer, *, keepalive_seconds: float
    ) -> None:
        self._suites = suites
        self._runs = runs
        self._renderer = renderer
        self._keepalive_seconds = keepalive_seconds

    async def events(self, suite: StoredSuite, last_event_id: str | None) -> AsyncGenerator[bytes]:
        """`run_updated` for each run that is recorded, and `suite_updated` first, at each change, and last.

        With `last_event_id` the runs that were recorded since that event, or shortly before it, are sent too. Raises
        Problem for an id that is not one of this stream, before anything is sent.
        """
        since = _time_of(last_event_id)
        known = await self._runs.known(suite, before=None if since is None else since - LATE)
        newest = max((suite.created_at, *known.values()))
        shown: Suite | None = await self._current(suite)
        if shown is not None and shown.outcome is None:
            yield format_event("suite_updated", shown, _id_of(newest))
        else:
            shown = None  # it comes last, after the runs that were recorded since
        silence = 0.0
        while True:
            # The suite before its runs: once it is over, all of them are recorded.
            current = await self._current(suite)
            for run in await self._runs.changed(suite, known):
                newest, silence = max(newest, run.updated_at), 0.0
                yield format_event("run_updated", run, _id_of(newest))
            if current.outcome is not None:
                yield format_event("suite_updated", current, _id_of(newest) + 1)  # an id that no event of a run has
                return
            if current != shown:
                shown, silence = current, 0.0
                yield format_event("suite_updated", current, _id_of(newest))
            if silence >= self._keepalive_seconds:
                silence = 0.0
                yield KEEPALIVE
            await asyncio.sleep(POLL_SECONDS)
            silence += POLL_SECONDS

    async def has_everything(self, suite: StoredSuite, last_event_id: str | None) -> bool:
        """True when no event follows this one: the suite is over, and this is its last event.

        Raises Problem for an id that is not one of this stream.
        """
        if not last_event_id or _time_of(last_event_id) is None or (await self._current(suite)).outcome is None:
            return False
        known = await self._runs.known(suite, before=None)
        return int(last_event_id) > _id_of(max((suite.created_at, *known.values())))

    async def _current(self, suite: StoredSuite) -> Suite:
        current = await self._suites.find(suite.organization_id, suite.id)
        if current is None:
            raise not_found("suite", suite.id)
        return self._renderer.suite(current, await self._suites.progress(suite.id))


def _id_of(newest: datetime) -> int:
    """The id of an event: the time of the newest record that was sent, in milliseconds."""
    return int(newest.timestamp() * 1000)


def _time_of(last_event_id: str | None) -> datetime | None:
    if not last_event_id:
        return None
    if not (last_event_id.isascii() and last_event_id.isdecimal() and int(last_event_id) < MAX_EVENT_ID):
        raise invalid(
            "invalid_request",
            "Last-Event-ID is not an id of this stream. Send the id of the last event you received, or omit it.",
            [("header.last-event-id", "is not the id of an event")],
        )
    return datetime.fromtimestamp(int(last_event_id) / 1000, UTC)
