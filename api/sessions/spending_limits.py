"""Monthly spending limits of organizations, cached so that messages do not wait for the store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from time import monotonic
from typing import Final

from api.http.problems import Problem
from api.schemas.responses import plain
from store.organizations import OrganizationStore, Terms, first_of_next

CACHE_SECONDS: Final = 1.0
"""Lifetime of an organization's cached spending. Settlement is up to two seconds behind a reply anyway."""


@dataclass(slots=True)
class _CachedTerms:
    terms: Terms
    month: date
    until: float


class SpendingLimits:
    """Provides the billing terms of organizations, and rejects spending over their limit."""

    def __init__(
        self, organizations: OrganizationStore, *, today: Callable[[], date] = lambda: datetime.now(UTC).date()
    ) -> None:
        self._organizations = organizations
        self._today = today
        self._cached: dict[str, _CachedTerms] = {}

    async def require(self, organization_id: str) -> Terms:
        """The terms of an organization below its limit. Raises Problem("quota_exceeded") with the amounts."""
        month = self._today().replace(day=1)
        terms = await self._terms(organization_id, month)
        if (limit := terms.exhausted_limit) is not None:
            raise _exceeded(limit, terms.spent, month)
        return terms

    async def this_month(self, organization_id: str) -> tuple[Terms, date]:
        """The terms of an organization and its spending in this month, with the month's first day."""
        month = self._today().replace(day=1)
        return await self._terms(organization_id, month), month

    async def _terms(self, organization_id: str, month: date) -> Terms:
        cached = self._cached.get(organization_id)
        if cached is not None and cached.month == month:
            if cached.until > monotonic():
                return cached.terms
            # While this call reads the store, others use the cached terms.
            cached.until = monotonic() + CACHE_SECONDS
        terms = await self._organizations.terms(organization_id, month)
        self._cached[organization_id] = _CachedTerms(terms, month, monotonic() + CACHE_SECONDS)
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
