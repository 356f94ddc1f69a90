"""Filters of dograh's lists of runs, from the JSON of its page."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from domain.agents.validation_errors import JsonCopy
from domain.dograh.disposition import WORDS
from store.sessions.run_filters import RunFilters

MAX_FILTERS: Final = 20
INVALID: Final = "Invalid filter format"
_ATTRIBUTES: Final = frozenset({"dateRange", "dispositionCode", "duration", "status", "tokenUsage"})
_STATUSES: Final = {"completed": True, "in_progress": False}


class _Value(BaseModel):
    """The value of a filter; each kind has fields of its own."""

    model_config = ConfigDict(extra="ignore")

    start: datetime | None = Field(default=None, alias="from")
    to: datetime | None = None
    codes: tuple[str, ...] = Field(default=(), max_length=100)
    status: str | None = None
    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)


class _Filter(BaseModel):
    model_config = ConfigDict(extra="ignore")

    attribute: str | None = None
    value: _Value = _Value()


def read_filters(text: str | None) -> tuple[RunFilters, tuple[dict[str, Any], ...] | None]:
    """The conditions in a query parameter, and the filters as they were sent; None without any.

    Raises HTTPException: 400 for what cannot be read, 403 for an attribute that is not offered.
    """
    if not text:
        return RunFilters(), None
    try:
        sent = json.loads(text)
        if not isinstance(sent, list) or len(sent) > MAX_FILTERS or JsonCopy(sent).issues:
            raise HTTPException(400, INVALID)
        filters = [_Filter.model_validate(each) for each in sent]
    except (ValueError, RecursionError, ValidationError):
        raise HTTPException(400, INVALID) from None
    conditions: dict[str, Any] = {}
    for each in filters:
        if each.attribute is not None and each.attribute not in _ATTRIBUTES:
            raise HTTPException(403, f"Invalid attribute '{each.attribute[:64]}'")
        conditions |= _conditions(each)
    return RunFilters(**conditions), tuple(sent) or None


def _conditions(each: _Filter) -> dict[str, Any]:
    value = each.value
    named: dict[str, Any] = {}
    match each.attribute:
        case "dateRange":
            named = {"created_from": _moment(value.start), "created_to": _moment(value.to)}
        case "dispositionCode":
            named = {"dispositions": value.codes or None, "words": WORDS}
        case "status":
            named = {"is_completed": _STATUSES.get(value.status or "")}
        case "duration":
            named = {"min_seconds": value.min, "max_seconds": value.max}
        case "tokenUsage":
            named = {"min_cost": _decimal(value.min), "max_cost": _decimal(value.max)}
        case _:
            pass
    return {name: given for name, given in named.items() if given is not None}


def _moment(given: datetime | None) -> datetime | None:
    """A time without a zone is in UTC."""
    return given.replace(tzinfo=UTC) if given is not None and given.tzinfo is None else given


def _decimal(number: float | None) -> Decimal | None:
    return None if number is None else Decimal(str(number))
