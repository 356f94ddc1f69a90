"""Routes of usage and cost: totals of an organization, and its ledger."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.http.responses import (
    READ_ERRORS,
    cursor_errors_as_problems,
    json_response,
    page_within_bytes,
    rendered_as,
    response_docs,
)
from api.routes.dependencies import Cursor, Limit, Organization, ServicesDep
from api.schemas import examples
from api.schemas.responses import CalculatedCost, LedgerRow, OrganizationUsage, PageOf, Usage

router = APIRouter(prefix="/v1/usage", tags=["usage"])


@router.get("", response_model=OrganizationUsage, responses=response_docs(*READ_ERRORS, example=examples.USAGE))
async def get_usage(organization: Organization, services: ServicesDep) -> Response:
    """Total usage and cost of the organization: the sum of its ledger."""
    spent = await services.ledger.totals(organization)
    cost = CalculatedCost.of(spent.cost, at=datetime.now(UTC))
    return json_response(OrganizationUsage(turns=spent.turns, usage=Usage.model_validate(spent.usage), cost=cost))


@router.get(
    "/ledger",
    response_model=PageOf[LedgerRow],
    responses=response_docs("invalid_request", *READ_ERRORS, example=examples.page_of(examples.LEDGER_ROW)),
)
async def list_ledger(
    organization: Organization,
    services: ServicesDep,
    session: Annotated[str | None, Query(max_length=200, description="Only rows of this session.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The ledger, newest first: one row for each turn, whether it completed or not."""
    with cursor_errors_as_problems():
        return await page_within_bytes(
            lambda limit, cursor: services.ledger.rows(organization, session_id=session, limit=limit, cursor=cursor),
            limit,
            cursor,
            rendered_as(LedgerRow),
        )
