"""The monthly spending limit for simulated users and judges, whose model calls no API request starts."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporalio.exceptions import ApplicationError

if TYPE_CHECKING:
    from store.organizations import OrganizationStore


class SpendingLimit:
    """Enforces the monthly limits of organizations, read from the store at every call."""

    def __init__(self, organizations: "OrganizationStore") -> None:
        self._organizations = organizations

    async def require(self, organization_id: str) -> None:
        """Raise a non-retryable ApplicationError of type `quota_exceeded` once the monthly limit is used up."""
        terms = await self._organizations.terms(organization_id, datetime.now(UTC).date())
        if (limit := terms.exhausted_limit) is not None:
            raise ApplicationError(
                f"The organization has spent {terms.spent:f} of the {limit:f} USD that it may spend this month.",
                type="quota_exceeded",
                non_retryable=True,
            )
