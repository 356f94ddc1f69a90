"""Usage and cost: calls of the async client."""

from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Literal

from playhead_client._async.transport import AsyncResource
from playhead_client.calls import Call, Listing, get, given, path_of
from playhead_client.models.usage import About, LedgerRow, OrganizationUsage


class AsyncUsage(AsyncResource):
    """Usage and cost, in total and turn by turn."""

    async def about(self) -> About:
        """Return the API's version, the organization, its models, and its quota."""
        return await self._transport.send(get(path_of("about"), About))

    async def total(self) -> OrganizationUsage:
        """Return the total usage and cost of the organization."""
        return await self._transport.send(get(path_of("usage"), OrganizationUsage))

    async def between(
        self,
        first: date | None = None,
        last: date | None = None,
        *,
        by: tuple[Literal["day", "agent", "model", "purpose"], ...] = (),
        zone: str | None = None,
    ) -> OrganizationUsage:
        """Return the usage and cost from the first to the last day, and with `by` also in rows.

        The range is the last 30 days by default; without days and `by` it is the whole ledger. Days are those of the
        time `zone`, such as Europe/Rome; by default UTC.
        """
        days = {"from": first.isoformat() if first else None, "to": last.isoformat() if last else None, "zone": zone}
        query: dict[str, str | Sequence[str]] = {**given(**days)}
        call = Call(
            "GET",
            path_of("usage"),
            OrganizationUsage.model_validate_json,
            {**query, "by": by} if by else query,
            repeatable=True,
        )
        return await self._transport.send(call)

    def ledger(self, *, session_id: str | None = None, limit: int | None = None) -> AsyncIterator[LedgerRow]:
        """List the rows of the ledger, newest first, of one session or of all."""
        return self._transport.items(Listing(path_of("usage", "ledger"), LedgerRow, given(session=session_id), limit))
