"""Every call about money: what was used and spent, in total and turn by turn."""

from playhead.client.models import LedgerRow, OrganizationUsage
from playhead.client.requests import Call, Listing, get, given

USAGE = "/v1/usage"


def get_usage() -> Call[OrganizationUsage]:
    """What the organization used and spent in total."""
    return get(USAGE, OrganizationUsage.model_validate_json)


def list_ledger(*, session_id: str | None = None, limit: int | None = None) -> Listing[LedgerRow]:
    """The rows of the ledger, newest first, of one session or of all."""
    return Listing(f"{USAGE}/ledger", LedgerRow, given(session=session_id), limit)
