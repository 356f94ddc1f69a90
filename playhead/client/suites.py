"""Every call about suites: started, looked at, steered and reported."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal
from uuid import uuid4

from pydantic import JsonValue
from pydantic_core import to_json

from playhead.client.models import Suite, SuiteReport, SuiteSummary
from playhead.client.requests import Call, Listing, get, given, post, quoted

SUITES = "/v1/suites"


def start_suite(
    suite: Mapping[str, JsonValue] | str | bytes,
    *,
    written: Literal["json", "yaml"] = "yaml",
    repeats: int | None = None,
    concurrency: int | None = None,
    budget_usd: Decimal | None = None,
    seed: int | None = None,
    min_pass_rate: float | None = None,
    tags: tuple[str, ...] = (),
    idempotency_key: str | None = None,
) -> Call[Suite]:
    """Start a suite: an object, or text that is `written` as YAML or JSON. What is named here goes before what it says.

    The same `idempotency_key` again gives the suite that it started. One is made when none is given, and every attempt
    to carry this call bears it.
    """
    if isinstance(suite, Mapping):
        content, written = to_json(suite), "json"
    else:
        content = suite.encode() if isinstance(suite, str) else suite
    changes = given(
        repeats=repeats, concurrency=concurrency, budget_usd=budget_usd, seed=seed, min_pass_rate=min_pass_rate
    )
    query: dict[str, str | Sequence[str]] = {name: f"{value}" for name, value in changes.items()}
    return Call(
        "POST",
        SUITES,
        Suite.model_validate_json,
        query={**query, "tag": tags} if tags else query,
        content=content,
        headers={
            "Content-Type": f"application/{written}",
            "Idempotency-Key": idempotency_key or f"start_{uuid4().hex}",
        },
        repeatable=True,
    )


def list_suites(*, limit: int | None = None) -> Listing[SuiteSummary]:
    """Suites, newest first, without their progress."""
    return Listing(SUITES, SuiteSummary, limit=limit)


def get_suite(suite_id: str) -> Call[Suite]:
    """How far a suite is."""
    return get(_path(suite_id), Suite.model_validate_json)


def get_report(suite_id: str, *, transcripts: bool = True, baseline: str | None = None) -> Call[SuiteReport]:
    """Every conversation of a suite with its verdict, compared with an earlier suite if one is named."""
    query = given(transcripts=None if transcripts else "false", baseline=baseline)
    return get(_path(suite_id, "report"), SuiteReport.model_validate_json, query=query)


def get_written_report(suite_id: str, form: Literal["junit", "html"], *, baseline: str | None = None) -> Call[bytes]:
    """The report as JUnit's XML, or as a page that needs no other host."""
    return get(_path(suite_id, "report"), bytes, query=given(format=form, baseline=baseline))


def steer_suite(suite_id: str, command: Literal["pause", "resume", "cancel"]) -> Call[Suite]:
    """Pause, resume or cancel a suite. The same again changes nothing."""
    return post(_path(suite_id, command), Suite.model_validate_json, {}, repeatable=True)


def _path(suite_id: str, *parts: str) -> str:
    return "/".join((SUITES, quoted(suite_id), *map(quoted, parts)))
