"""Calls about usage and cost."""

from collections.abc import AsyncIterator

from playhead_client._async.transport import AsyncResource
from playhead_client.calls import Listing, get, given, path_of
from playhead_client.models.usage import About, LedgerRow, OrganizationUsage


class AsyncUsage(AsyncResource):
    """Usage and cost, in total and turn by turn."""

    async def about(self) -> About:
        """Return the API's version, the organization, its models, and its quota."""
        return await self._transport.send(get(path_of("about"), About))

    async def total(self) -> OrganizationUsage:
        """Return the total usage and cost of the organization."""
        return await self._transport.send(get(path_of("usage"), OrganizationUsage))

    def ledger(self, *, session_id: str | None = None, limit: int | None = None) -> AsyncIterator[LedgerRow]:
        """List the rows of the ledger, newest first, of one session or of all."""
        return self._transport.items(Listing(path_of("usage", "ledger"), LedgerRow, given(session=session_id), limit))
