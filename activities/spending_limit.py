"""Whether an organization may spend more: callers and judges spend with no request that could be refused."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporalio.exceptions import ApplicationError

if TYPE_CHECKING:
    from store.organizations import OrganizationStore


class SpendingLimit:
    """The monthly limits of organizations, as the store knows them."""

    def __init__(self, organizations: "OrganizationStore") -> None:
        self._organizations = organizations

    async def require(self, organization_id: str) -> None:
        """Refuse a purchase of an organization that has spent what it may this month.

        Raises ApplicationError of type `quota_exceeded`, which is not retried.
        """
        terms = await self._organizations.terms(organization_id, datetime.now(UTC).date().replace(day=1))
        if terms.monthly_limit is not None and terms.spent >= terms.monthly_limit:
            raise ApplicationError(
                f"The organization has spent {terms.spent:f} of the {terms.monthly_limit:f} USD that it may spend this "
                "month.",
                type="quota_exceeded",
                non_retryable=True,
            )
