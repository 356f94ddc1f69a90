"""The route that describes an installation to its callers."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http.responses import READ_ERRORS, json_response, response_docs
from api.routes.dependencies import Organization, ServicesDep
from api.schemas import examples
from api.schemas.responses import About, Quota

router = APIRouter(prefix="/v1/about", tags=["usage"])

MAX_AGENTS = 200
"""Agents whose models are listed: the newest ones."""


@router.get("", response_model=About, responses=response_docs(*READ_ERRORS, example=examples.ABOUT))
async def get_about(request: Request, organization: Organization, services: ServicesDep) -> Response:
    """The version, the caller's organization, its models, and what it has spent this month and may still spend.

    `models` are the default model and those that the newest 200 agents name. `quota` is null without a monthly limit.
    """
    terms, month = await services.spending_limits.this_month(organization)
    named = await services.agents.models(organization, MAX_AGENTS)
    quota = None
    if terms.monthly_limit is not None:
        quota = Quota(limit=terms.monthly_limit, spent=terms.spent, currency="USD", month=f"{month:%Y-%m}")
    return json_response(
        About(
            version=request.app.version,
            organization=organization,
            keyless=services.keyless,
            models=(services.default_model, *sorted(named - {services.default_model})),
            default_model=services.default_model,
            month=f"{month:%Y-%m}",
            spent=terms.spent,
            quota=quota,
        )
    )
