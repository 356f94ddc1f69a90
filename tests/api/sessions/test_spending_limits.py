"""Charges by the second, and requests of organizations whose monthly limit is exhausted."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import httpx2

from contracts.sessions import session_workflow_id
from store.organizations import NewTerms, OrganizationStore
from tests.api.conftest import PRICED
from tests.api.dograh.panel import Panel, chats_of
from tests.support.api_agents import library
from tests.support.provider import ErrorReply, ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem, texts
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

A_REPLY = Decimal("0.018")
"""Cost of one reply of the priced model."""
EARLIER = 1
"""A revision before that of any open session: a message that expects it is always rejected."""


async def set_terms(running_api: RunningApi, caller: Caller, terms: NewTerms) -> None:
    """Do what `playhead orgs set` does."""
    assert await OrganizationStore(running_api.database).set_terms(caller.organization, terms)


async def quota_rejection(caller: Caller, session_id: str) -> Json:
    """The rejection of a message, once the API knows the spending."""

    async def rejection() -> httpx2.Response | None:
        body = {"text": "More?", "expected_revision": EARLIER}
        response = await caller.post(f"/v1/sessions/{session_id}/messages", body)
        return response if response.status_code == 402 else None

    response = await eventually(rejection)
    assert response is not None
    return problem(response, 402, "quota_exceeded")


async def overspent(running_api: RunningApi, caller: Caller, scripted: Scripted, *replies: TextReply) -> str:
    """A session with one answered message, of an organization that has reached its limit with it."""
    await caller.push(library(scripted(*replies, name=PRICED).string))
    session_id = (await caller.open("library"))["id"]
    await caller.say(session_id, "One?", message_id="m-1")
    await caller.recorded(session_id, turns=2)
    await set_terms(running_api, caller, NewTerms(monthly_limit=A_REPLY))
    await quota_rejection(caller, session_id)
    return str(session_id)


async def history_length(running_api: RunningApi, session_id: str) -> int:
    """The number of events in the history of the session's workflow."""
    handle = running_api.client.get_workflow_handle(session_workflow_id(session_id))
    length = (await handle.describe()).history_length
    assert length
    return length


# --- seconds --------------------------------------------------------------------------------------------------------


async def test_seconds_of_the_model_are_charged_in_the_session_the_ledger_and_the_totals(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    price = Decimal("0.25")
    await set_terms(running_api, caller, NewTerms(price_per_second=price))
    key = f"openai:{PRICED}"
    await caller.push(library(scripted(TextReply("One."), name=PRICED).string))
    session_id = (await caller.open("library"))["id"]
    session = await caller.say(session_id, "One?")
    greeting, turn = session["turns"]
    assert greeting["cost"]["breakdown"] == {}, "a greeting without a model call takes no model's time"
    seconds = Decimal(str(turn["usage"]["model_seconds"]))
    assert 0 < seconds <= Decimal(str(turn["usage"]["duration_seconds"])) + Decimal("0.001")
    charged = {part: Decimal(amount) for part, amount in turn["cost"]["breakdown"].items()}
    assert charged == {key: A_REPLY, "duration": seconds * price}
    assert Decimal(turn["cost"]["total"]) == A_REPLY + seconds * price

    rows = await caller.recorded(session_id, turns=2)
    assert rows[0]["cost"] == turn["cost"]
    assert {**rows[0]["usage"], "first_word_seconds": turn["usage"]["first_word_seconds"]} == turn["usage"]
    totals = done(await caller.get("/v1/usage"), 200)
    for whole in (session, totals):
        assert without_time(whole["cost"]) == turn["cost"]
        assert whole["usage"]["model_seconds"] == turn["usage"]["model_seconds"]
    assert set(totals["usage"]["llm"]) == {key}


async def test_a_session_keeps_the_price_it_opened_with(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    await caller.push(library(scripted().string))
    free = (await caller.open("library"))["id"]
    await set_terms(running_api, caller, NewTerms(price_per_second=Decimal(1)))

    async def priced() -> str | None:
        opened = (await caller.open("library"))["id"]
        spent = (await caller.say(opened, "Hello."))["cost"]["breakdown"]
        return opened if "duration" in spent else None

    charged = await eventually(priced)
    await set_terms(running_api, caller, NewTerms(price_per_second=None))
    assert "duration" not in (await caller.say(free, "Hello."))["cost"]["breakdown"]
    before = Decimal((await caller.session(str(charged)))["cost"]["breakdown"]["duration"])
    after = Decimal((await caller.say(str(charged), "Again."))["cost"]["breakdown"]["duration"])
    assert after > before


async def test_failed_attempts_are_not_charged_for_time(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    await set_terms(running_api, caller, NewTerms(price_per_second=Decimal(1)))
    await caller.push(library(scripted(ErrorReply(429), ErrorReply(500), TextReply("One.")).string))
    turn = (await caller.say((await caller.open("library"))["id"], "One?"))["turns"][1]
    assert Decimal(turn["cost"]["breakdown"]["duration"]) == Decimal(str(turn["usage"]["model_seconds"]))
    pauses = running_api.settings.model_retry_initial_seconds * 3
    assert turn["usage"]["model_seconds"] < turn["usage"]["duration_seconds"] - pauses


async def test_totals_say_when_they_were_calculated(caller: Caller, scripted: Scripted) -> None:
    began = datetime.now(UTC)
    await caller.push(library(scripted().string))
    session = await caller.say((await caller.open("library"))["id"], "Hello.")
    assert session["cost"]["calculated_at"] == session["updated_at"]
    await caller.recorded(session["id"], turns=2)
    calculated_at = datetime.fromisoformat(done(await caller.get("/v1/usage"), 200)["cost"]["calculated_at"])
    assert began < calculated_at <= datetime.now(UTC)
    [listed] = await caller.items("/v1/sessions")
    assert listed["cost"] == session["cost"]


# --- the limit ------------------------------------------------------------------------------------------------------


async def test_a_message_over_the_limit_is_refused_with_the_figures_and_changes_nothing(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await overspent(running_api, caller, scripted)
    before, events = await caller.session(session_id), await history_length(running_api, session_id)
    for query in ({}, {"wait": False}):
        path, body = f"/v1/sessions/{session_id}/messages", {"text": "Two?"}
        refused = problem(await caller.post(path, body, **query), 402, "quota_exceeded")
        month = f"{datetime.now(UTC):%Y-%m}"
        figures = {"limit": "0.018", "spent": "0.018", "currency": "USD", "month": month}
        assert {name: refused[name] for name in figures} == figures
        assert "0.018 of the 0.018 USD" in refused["detail"]
    after = await caller.session(session_id)
    assert (after["revision"], texts(after)) == (before["revision"], texts(before))
    assert await history_length(running_api, session_id) == events, "a rejection leaves nothing in history"


async def test_a_session_over_the_limit_is_not_opened(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    await overspent(running_api, caller, scripted)
    for query in ({}, {"wait": False}):
        problem(await caller.post("/v1/sessions", {"agent": "library"}, **query), 402, "quota_exceeded")
    assert len(await caller.items("/v1/sessions")) == 1


async def test_over_the_limit_a_repeat_gets_its_first_answer_and_a_session_can_be_rewound_and_ended(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await overspent(running_api, caller, scripted, TextReply("One."))
    repeated = await caller.say(session_id, "One?", message_id="m-1")
    assert texts(repeated)[-1] == ("One?", "One.")
    rewound = await caller.rewind(session_id, repeated["turns"][0]["id"])
    assert rewound["status"] == "rewound"
    assert (await caller.end(session_id))["is_completed"]


async def test_over_the_limit_no_turn_is_edited_or_regenerated_and_no_session_is_forked(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await overspent(running_api, caller, scripted)
    before, events = await caller.session(session_id), await history_length(running_api, session_id)
    turn_id = before["turns"][1]["id"]
    for command, body in (
        (f"turns/{turn_id}/edit", {"text": "Two?"}),
        (f"turns/{turn_id}/regenerate", {}),
        ("fork", {"turn_id": turn_id}),
    ):
        problem(await caller.post(f"/v1/sessions/{session_id}/{command}", body), 402, "quota_exceeded")
    assert (await caller.session(session_id))["revision"] == before["revision"]
    assert await history_length(running_api, session_id) == events
    assert len(await caller.items("/v1/sessions")) == 1


async def test_over_the_limit_no_suite_is_started(running_api: RunningApi, caller: Caller, scripted: Scripted) -> None:
    await overspent(running_api, caller, scripted)
    suite = {
        "name": "trial",
        "agent": "library",
        "scenarios": [{"id": "asks", "goal": "Ask.", "success": ["It was told."]}],
    }
    problem(await caller.post("/v1/suites", suite), 402, "quota_exceeded")
    assert await caller.items("/v1/suites") == []


async def test_over_the_limit_no_simulated_user_is_switched_on(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await overspent(running_api, caller, scripted)
    path = f"/v1/sessions/{session_id}/simulator"
    problem(await caller.put(path, {"config": {"goal": "Ask."}}), 402, "quota_exceeded")
    await caller.end(session_id)


async def test_a_raised_limit_lets_the_conversation_go_on(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await overspent(running_api, caller, scripted)
    await set_terms(running_api, caller, NewTerms(monthly_limit=None))

    async def accepted() -> bool:
        response = await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Two?"})
        return response.status_code == 200

    await eventually(accepted)


async def test_a_limit_is_one_organizations_own(running_api: RunningApi, caller: Caller, scripted: Scripted) -> None:
    await overspent(running_api, caller, scripted)
    async with running_api.caller() as neighbour:
        await neighbour.push(library(scripted().string))
        session = await neighbour.say((await neighbour.open("library"))["id"], "Hello.")
        assert session["status"] == "idle"


async def test_the_text_chat_of_dograh_is_refused_with_402(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    agent = await caller.push(library(scripted(name=PRICED).string))
    panel = await Panel.open(caller, agent["workflow_id"])
    await panel.send("One?")
    session_id = await panel.session_id()
    await caller.recorded(session_id, turns=2)
    await set_terms(running_api, caller, NewTerms(monthly_limit=Decimal("0.01")))
    refused = await quota_rejection(caller, session_id)
    for response in (
        await panel.post("messages", text="Two?", expected_revision=panel.revision),
        await caller.post(chats_of(panel.workflow_id), {}),
    ):
        assert done(response, 402) == {"detail": refused["detail"]}
    before = panel.shown
    assert await panel.reload() == before
    assert (await panel.end())["is_completed"]


async def test_a_client_of_openai_gets_insufficient_quota(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    await overspent(running_api, caller, scripted)
    asked = {"model": "library", "messages": [{"role": "user", "content": "Hello?"}]}
    refused = done(await caller.post("/v1/chat/completions", asked), 402)
    assert (refused["error"]["type"], refused["error"]["code"]) == ("insufficient_quota", "quota_exceeded")
    assert len(await caller.items("/v1/sessions")) == 1


def without_time(cost: Json) -> Json:
    """A cost as turns have it."""
    return {name: value for name, value in cost.items() if name != "calculated_at"}
