"""Suites: calls of the async client."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import JsonValue
from pydantic_core import from_json

from playhead_client._async.transport import AsyncEventStream, AsyncResource
from playhead_client.calls import Call, Listing, document, get, given, keyed, new_id, path_of, post
from playhead_client.models.sessions import Session
from playhead_client.models.suites import Suite, SuiteReport, SuiteRun, SuiteSummary
from playhead_client.stream_position import SuitePosition

SUITES = path_of("suites")


class AsyncSuites(AsyncResource):
    """Suites of simulated conversations: start, follow, pause, resume, cancel and report them."""

    async def start(
        self,
        suite: Mapping[str, JsonValue] | str | bytes,
        *,
        written: Literal["json", "yaml"] = "yaml",
        repeats: int | None = None,
        concurrency: int | None = None,
        budget_usd: Decimal | None = None,
        seed: int | None = None,
        min_pass_rate: float | None = None,
        tags: tuple[str, ...] = (),
        idempotency_key: str | None = None,
    ) -> Suite:
        """Start a suite: an object, or text that is `written` as YAML or JSON. Arguments override its fields.

        Repeating the call with the same `idempotency_key` returns the suite that it started. Without a key, one is
        generated for all retries of this call.
        """
        content, headers = document(suite, written)
        changes = given(
            repeats=repeats, concurrency=concurrency, budget_usd=budget_usd, seed=seed, min_pass_rate=min_pass_rate
        )
        query: dict[str, str | Sequence[str]] = {name: f"{value}" for name, value in changes.items()}
        return await self._transport.send(
            Call(
                "POST",
                SUITES,
                Suite.model_validate_json,
                query={**query, "tag": tags} if tags else query,
                content=content,
                headers={**headers, **keyed(idempotency_key or new_id("start"))},
                repeatable=True,
            )
        )

    def list(
        self, *, agent: str | None = None, agent_version: int | None = None, limit: int | None = None
    ) -> AsyncIterator[SuiteSummary]:
        """List suites, newest first, without their progress. `agent` is an id or a name."""
        query = given(agent=agent, agent_version=None if agent_version is None else str(agent_version))
        return self._transport.items(Listing(SUITES, SuiteSummary, query, limit))

    async def get(self, suite_id: str) -> Suite:
        """Return a suite with its progress."""
        return await self._transport.send(get(path_of("suites", suite_id), Suite))

    def runs(
        self,
        suite_id: str,
        *,
        outcome: Literal["passed", "failed", "inconclusive"] | None = None,
        scenario: str | None = None,
        updated_after: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[SuiteRun]:
        """List the planned runs of a suite without their turns, also those that have not begun.

        With `updated_after` only those recorded since then, and in the five seconds before it.
        """
        after = updated_after.isoformat() if updated_after else None
        query = given(outcome=outcome, scenario=scenario, updated_after=after)
        return self._transport.items(Listing(path_of("suites", suite_id, "runs"), SuiteRun, query, limit))

    def watch(self, suite_id: str) -> AsyncEventStream:
        """Stream a suite until it is over: `suite_updated` with its progress, and `run_updated` for each recorded run.

        After a lost connection a run may come twice.
        """
        call = get(path_of("suites", suite_id, "events"), Session)
        return AsyncEventStream(self._transport, SuitePosition(call))

    async def definition(self, suite_id: str) -> dict[str, JsonValue]:
        """Return the definition of a suite, which `start` takes."""
        return await self._transport.send(
            Call("GET", path_of("suites", suite_id, "definition"), from_json, repeatable=True)
        )

    async def report(self, suite_id: str, *, transcripts: bool = True, baseline: str | None = None) -> SuiteReport:
        """Return every conversation of a suite with its verdict, compared with an earlier suite if one is given."""
        query = given(transcripts=None if transcripts else "false", baseline=baseline)
        return await self._transport.send(get(path_of("suites", suite_id, "report"), SuiteReport, query=query))

    async def written_report(
        self, suite_id: str, form: Literal["junit", "html"], *, baseline: str | None = None
    ) -> bytes:
        """Return the report as JUnit XML, or as an HTML page without references to other hosts."""
        query = given(format=form, baseline=baseline)
        return await self._transport.send(
            Call("GET", path_of("suites", suite_id, "report"), bytes, query, repeatable=True)
        )

    async def steer(self, suite_id: str, command: Literal["pause", "resume", "cancel"]) -> Suite:
        """Pause, resume or cancel a suite. The same command again changes nothing."""
        return await self._transport.send(post(path_of("suites", suite_id, command), Suite, {}, repeatable=True))
