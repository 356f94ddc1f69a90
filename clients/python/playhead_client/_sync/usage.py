# Generated from _async/usage.py by scripts/generate_sync_client.py; change that file instead.
"""Usage and cost: calls of the blocking client."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal

from playhead_client._sync.transport import Resource
from playhead_client.calls import Call, Listing, get, given, path_of
from playhead_client.models.usage import About, LedgerRow, OrganizationUsage


class Usage(Resource):
    """Usage and cost, in total and turn by turn."""

    def about(self) -> About:
        """Return the API's version, the organization, its models, and its quota."""
        return self._transport.send(get(path_of("about"), About))

    def total(self) -> OrganizationUsage:
        """Return the total usage and cost of the organization."""
        return self._transport.send(get(path_of("usage"), OrganizationUsage))

    def between(
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
        return self._transport.send(call)

    def ledger(self, *, session_id: str | None = None, limit: int | None = None) -> Iterator[LedgerRow]:
        """List the rows of the ledger, newest first, of one session or of all."""
        return self._transport.items(Listing(path_of("usage", "ledger"), LedgerRow, given(session=session_id), limit))
