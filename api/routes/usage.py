"""The routes of money: what an organization has used and spent, altogether and turn by turn."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.http.responses import READ_ERRORS, cursor_from_outside, described, json_answer, page_answer
from api.routes.dependencies import Cursor, Limit, Organization, ServicesDep
from api.schemas import examples
from api.schemas.responses import CalculatedCost, LedgerRow, OrganizationUsage, PageOf, Usage

router = APIRouter(prefix="/v1/usage", tags=["usage"])


@router.get("", response_model=OrganizationUsage, responses=described(*READ_ERRORS, example=examples.USAGE))
async def get_usage(organization: Organization, within: ServicesDep) -> Response:
    """Everything the organization was ever billed for: the sum of its ledger."""
    spent = await within.ledger.totals(organization)
    cost = CalculatedCost.of(spent.cost, at=datetime.now(UTC))
    return json_answer(OrganizationUsage(turns=spent.turns, usage=Usage.model_validate(spent.usage), cost=cost))


@router.get(
    "/ledger",
    response_model=PageOf[LedgerRow],
    responses=described("invalid_request", *READ_ERRORS, example=examples.page_of(examples.LEDGER_ROW)),
)
async def list_ledger(
    organization: Organization,
    within: ServicesDep,
    session: Annotated[str | None, Query(max_length=200, description="Only the rows of this session.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The ledger, newest first: one row a turn, whatever became of the turn."""
    with cursor_from_outside():
        page = await within.ledger.rows(organization, session_id=session, limit=limit, cursor=cursor)
    return page_answer(LedgerRow, page.items, page.next_cursor)
