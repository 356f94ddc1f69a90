"""Who may spend more: an organization's monthly limit, kept in memory so that no message waits for the store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from time import monotonic
from typing import Final

from api.http.problems import Problem
from api.schemas.responses import plain
from store.organizations import OrganizationStore, Terms, first_of_next

REMEMBERED_SECONDS: Final = 1.0
"""How long what an organization has spent is taken as known. Settling is up to two seconds behind a reply anyway."""


@dataclass(slots=True)
class _Known:
    terms: Terms
    month: date
    until: float


class SpendingLimits:
    """Tells what organizations pay, and refuses what they may no longer spend."""

    def __init__(
        self, organizations: OrganizationStore, *, today: Callable[[], date] = lambda: datetime.now(UTC).date()
    ) -> None:
        self._organizations = organizations
        self._today = today
        self._known: dict[str, _Known] = {}

    async def require(self, organization_id: str) -> Terms:
        """The terms of an organization that may spend more. Raises Problem("quota_exceeded") with the figures."""
        month = self._today().replace(day=1)
        terms = await self._terms(organization_id, month)
        if (limit := terms.exhausted_limit) is not None:
            raise _exceeded(limit, terms.spent, month)
        return terms

    async def _terms(self, organization_id: str, month: date) -> Terms:
        known = self._known.get(organization_id)
        if known is not None and known.month == month:
            if known.until > monotonic():
                return known.terms
            # While this call asks the store, others go on with what is known.
            known.until = monotonic() + REMEMBERED_SECONDS
        terms = await self._organizations.terms(organization_id, month)
        self._known[organization_id] = _Known(terms, month, monotonic() + REMEMBERED_SECONDS)
        return terms


def _exceeded(limit: Decimal, spent: Decimal, month: date) -> Problem:
    again = first_of_next(month)
    return Problem(
        "quota_exceeded",
        f"The organization has spent {plain(spent)} of the {plain(limit)} USD that it may spend in {month:%B %Y}. "
        f"Nothing was accepted. It may spend again from {again.isoformat()} on, or when its limit is raised.",
        limit=plain(limit),
        spent=plain(spent),
        currency="USD",
        month=f"{month:%Y-%m}",
    )
