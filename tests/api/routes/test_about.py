"""The description of an installation over HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from store.organizations import OrganizationStore
from tests.api.conftest import PRICED
from tests.support.api_agents import library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi, done, problem
from tests.support.waiting import eventually


async def test_about_names_version_organization_and_models(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library("openai-chat:another"))
    about = done(await caller.get("/v1/about"), 200)
    assert (about["default_model"], about["keyless"], about["quota"]) == ("openai-chat:echo", False, None)
    assert about["models"] == ["openai-chat:echo", "openai-chat:another"]
    assert about["organization"] == caller.organization
    assert about["version"]
    assert (about["month"], about["spent"]) == (f"{datetime.now(UTC):%Y-%m}", "0")
    async with running_api.stranger() as stranger:
        problem(await stranger.get("/v1/about"), 401, "unauthenticated")


async def test_about_shows_the_quota_of_this_month(running_api: RunningApi, caller: Caller) -> None:
    organizations = OrganizationStore(running_api.database)
    assert await organizations.set_terms(caller.organization, {"monthly_limit": Decimal("2.50")})
    quota = done(await caller.get("/v1/about"), 200)["quota"]
    month = f"{datetime.now(UTC):%Y-%m}"
    assert quota == {"limit": "2.5", "spent": "0", "currency": "USD", "month": month}


async def test_about_shows_what_was_spent_this_month(
    caller: Caller, scripted: Callable[..., ScriptedModel], running_api: RunningApi
) -> None:
    await caller.push(library(scripted(TextReply("One.", prompt_tokens=100, completion_tokens=20), name=PRICED).string))
    session_id = (await caller.open("library"))["id"]
    await caller.say(session_id, "One?")
    await caller.recorded(session_id, turns=2)

    async def is_shown() -> bool:
        about = done(await caller.get("/v1/about"), 200)
        return (about["spent"], about["quota"]) == ("0.12", None)

    await eventually(is_shown)
    async with running_api.caller() as stranger:
        assert done(await stranger.get("/v1/about"), 200)["spent"] == "0"
