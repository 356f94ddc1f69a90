"""Routes of usage and cost: totals of an organization, and its ledger."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.http.responses import (
    READ_ERRORS,
    json_response,
    page_within_bytes,
    rendered_as,
    response_docs,
)
from api.routes.day_range import Zone, range_of_days
from api.routes.dependencies import Cursor, Limit, Organization, ServicesDep
from api.schemas import examples
from api.schemas.responses import CalculatedCost, LedgerRow, OrganizationUsage, PageOf, Usage, UsageRow
from domain import usage as domain_usage
from domain.usage import Cost
from store.billing.usage_periods import Dimension, UsageKey, UsageSum

router = APIRouter(prefix="/v1/usage", tags=["usage"])


@router.get(
    "",
    response_model=OrganizationUsage,
    responses=response_docs("invalid_request", *READ_ERRORS, example=examples.USAGE),
)
async def get_usage(
    *,
    organization: Organization,
    services: ServicesDep,
    zone: Zone,
    first: Annotated[date | None, Query(alias="from", description="The first day.")] = None,
    last: Annotated[date | None, Query(alias="to", description="The last day; by default today.")] = None,
    by: Annotated[tuple[Dimension, ...], Query(max_length=4, description="Divides the range into rows.")] = (),
) -> Response:
    """Usage and cost of the organization: the sum of its ledger. With `from`, `to` or `by` that of a range of days, by
    default the last 30; `by` divides it into rows, newest day first."""
    now = datetime.now(UTC)
    if first is None and last is None and not by:
        spent = await services.ledger.totals(organization)
        return _usage_response(spent.turns, spent.usage, spent.cost, (), now)
    start, end = range_of_days(first, last, now, zone, parameters=("from", "to"))
    sums = await services.period_usage.sums(organization, start, end, (), zone)
    total = sums.get(UsageKey(), UsageSum())
    rows = await services.period_usage.sums(organization, start, end, by, zone) if by else {}
    agent_ids = {key.agent_id for key in rows if key.agent_id is not None}
    names = await services.period_usage.agent_names(organization, agent_ids)
    rendered = tuple(_usage_row(key, rows[key], names) for key in sorted(rows, key=_newest_day_first))
    return _usage_response(total.turns, total.usage, total.cost, rendered, now)


def _usage_response(
    turns: int, used: domain_usage.Usage, spent: Cost, rows: tuple[UsageRow, ...], now: datetime
) -> Response:
    cost = CalculatedCost.of(spent, at=now)
    return json_response(OrganizationUsage(turns=turns, usage=Usage.model_validate(used), cost=cost, rows=rows))


def _usage_row(key: UsageKey, spent: UsageSum, names: Mapping[str, str]) -> UsageRow:
    return UsageRow.model_validate(
        {
            **key._asdict(),
            "agent_name": names.get(key.agent_id) if key.agent_id else None,
            "turns": spent.turns,
            "prompt_tokens": sum(used.prompt_tokens for used in spent.llm.values()),
            "completion_tokens": sum(used.completion_tokens for used in spent.llm.values()),
            "cost": spent.cost,
        }
    )


def _newest_day_first(key: UsageKey) -> tuple[int, str, str, str]:
    return -key.day.toordinal() if key.day else 0, key.agent_id or "", key.model or "", key.purpose or ""


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
    """The ledger, newest first: one row per turn, whether it completed or not, and one per auxiliary model call."""
    return await page_within_bytes(
        lambda limit, cursor: services.ledger.rows(organization, session_id=session, limit=limit, cursor=cursor),
        limit,
        cursor,
        rendered_as(LedgerRow),
    )
