"""Public chats over HTTP: the widget's forms, limits that two APIs share, and nothing beyond the visitor's chat."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from api.dograh.embed_limits import MAX_TURNS, OPENINGS_OF_ADDRESS, OPENINGS_OF_TOKEN
from api.sessions.messages import MessageService
from api.sessions.snapshots import Snapshot
from domain.sessions.commands import TurnCommand
from store.embed import EmbedStore
from store.organizations import OrganizationStore
from store.sessions.sessions import StoredSession
from tests.api.conftest import PRICED
from tests.api.dograh.widget import EMBED, EVIL, SHOP, Site, Widget, allowed_origin, forget_rates, two_apis
from tests.support.api_agents import GREETING, library
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi, done, problem, serving
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

WORDS = "a word that no visitor may read"
INVALID = {"detail": "Invalid session token"}
INACTIVE = {"detail": "Embed token is inactive"}
LAST_TURN = {"detail": "Message limit reached for this conversation"}


@pytest_asyncio.fixture
async def site(running_api: RunningApi, other_api: RunningApi) -> AsyncIterator[Site]:
    async with two_apis(running_api, other_api) as found:
        yield found


@pytest_asyncio.fixture
async def widget(site: Site, caller: Caller, scripted: Scripted) -> AsyncIterator[Widget]:
    """A visitor in the shop's page, whose agent repeats what they say."""
    async with site.visitor(await site.token(caller, model=scripted().string)) as visitor:
        yield visitor


# --- forms ----------------------------------------------------------------------------------------------------------


async def test_visitor_holds_a_chat_without_a_key(widget: Widget, caller: Caller) -> None:
    assert "authorization" not in widget.http.headers
    config = done(await widget.configuration(), 200)
    assert config["settings"] == {"widgetType": "chat"}
    opened = await widget.open(time_of_day="evening")
    assert set(opened) == {"session_token", "workflow_run_id", "config", "widget_type", "chat_session"}
    assert opened["session_token"].startswith("emb_session_")
    assert opened["widget_type"] == "chat"
    run = {"workflow_id": config["workflow_id"], "workflow_run_id": opened["workflow_run_id"]}
    assert opened["config"] == {"widgetType": "chat", **run}
    assert (widget.shown["revision"], widget.said) == (2, [(None, "Good evening, this is the town library.")])

    shown = await widget.send("Are you open?")
    assert set(shown) == {"revision", "state", "is_completed", "turns"}
    assert (shown["revision"], shown["state"], shown["is_completed"]) == (4, "running", False)
    assert set(shown["turns"][-1]) == {"id", "status", "user_message", "assistant_message"}
    assert set(shown["turns"][-1]["user_message"]) == {"text", "created_at"}
    assert widget.said[-1] == ("Are you open?", "You said: Are you open?")
    assert done(await widget.read(), 200) == shown

    ended = done(await widget.post("end", expected_revision=4), 200)
    assert (ended["state"], ended["is_completed"]) == ("completed", True)
    assert done(await widget.post("end"), 200) == ended
    completed = {"detail": {"code": "chat_completed", "message": "Conversation has ended"}}
    assert done(await widget.post("messages", text="Still there?"), 400) == completed
    path = f"/api/v1/workflow/{run['workflow_id']}/text-chat/sessions/{run['workflow_run_id']}"
    kept = done(await caller.get(path), 200)
    assert kept["annotations"] == {"embed": {"source": "embed_widget", "modality": "text"}}
    assert kept["name"].startswith("Embed Chat - ")
    assert kept["initial_context"] == {"time_of_day": "evening"}


async def test_configuration_has_the_settings_of_the_token_and_defaults(site: Site, caller: Caller) -> None:
    settings = {
        "widgetType": "voice",
        "theme": "dark",
        "autoStart": True,
        "endChatText": "Stop",
        "sendMessageLabel": "",
    }
    token = await site.token(caller, settings=settings)
    async with site.visitor(token) as visitor:
        config = done(await visitor.configuration(), 200)
        assert config["settings"] == {**settings, "widgetType": "chat"}
        assert (config["theme"], config["position"], config["auto_start"]) == ("dark", "bottom-right", True)
        assert (config["texts"]["endChatText"], config["texts"]["sendMessageLabel"]) == ("Stop", "Send")
        assert (config["turn_enabled"], config["force_turn_relay"]) == (False, False)
        opened = await visitor.open()
        assert opened["config"]["theme"] == "dark"


async def test_stale_revision_and_a_pending_reply_are_conflicts(site: Site, caller: Caller, scripted: Scripted) -> None:
    gate = Gate()
    token = await site.token(caller, model=scripted(TextReply("Here.", gate=gate)).string)
    async with site.visitor(token) as visitor:
        await visitor.open()
        stale = done(await visitor.post("messages", text="Hello?", expected_revision=1), 409)["detail"]
        assert (stale["expected_revision"], stale["actual_revision"]) == (1, 2)
        sent = asyncio.create_task(visitor.post("messages", text="Hello?"))
        await gate.reached()
        assert (
            "answering another message" in done(await visitor.post("messages", text="Hello!"), 409)["detail"]["message"]
        )
        gate.open()
        assert done(await sent, 200)["turns"][-1]["assistant_message"]["text"] == "Here."


async def test_messages_of_the_wrong_form_are_refused(widget: Widget) -> None:
    await widget.open()
    for body in ({}, {"text": ""}, {"text": "  "}, {"text": "x" * 4_001}, {"text": "a\x00"}):
        (issue,) = done(await widget.post("messages", **body), 422)["detail"]
        assert issue["loc"][0] == "body"
    done(await widget.post("messages", text="x" * 4_000, color="red"), 200)
    done(await widget.http.post(f"{EMBED}/init", json={"token": 7}), 422)


async def test_invalid_variables_of_the_page_are_left_out(widget: Widget, caller: Caller) -> None:
    opened = await widget.open(**{" plan ": "gold", "a.b": 1, "provider": "x", "long": "y" * 3_000, "nul": "\x00"})
    path = f"/api/v1/workflow/{opened['config']['workflow_id']}/text-chat/sessions/{opened['workflow_run_id']}"
    assert done(await caller.get(path), 200)["initial_context"] == {"plan": "gold", "long": "y" * 2_000}
    for depth, status in ((500, 200), (90_000, 400)):
        deep = b'{"plan": "gold", "deep": %s}' % (b"[" * depth + b"]" * depth)
        body = b'{"token": "%s", "context_variables": %s}' % (widget.token.encode(), deep)
        response = await widget.http.post(f"{EMBED}/init", content=body, headers={"Content-Type": "application/json"})
        done(response, status)
    newest = (await caller.items("/v1/sessions"))[0]
    assert newest["initial_context"] == {"plan": "gold"}


# --- what a visitor does not get ------------------------------------------------------------------------------------


async def test_failures_do_not_show_their_cause(site: Site, caller: Caller, scripted: Scripted) -> None:
    model = scripted(ErrorReply(401), TextReply("Here I am."))
    agent = await caller.push(library(model.string, prompt=WORDS))
    _, token = await site.new_token(caller, agent)
    async with site.visitor(token) as visitor:
        await visitor.open()
        failed = await visitor.post("messages", text="Hello?")
        assert done(failed, 500) == {"detail": "Assistant failed to respond"}
        read = await visitor.read()
        assert done(read, 200)["turns"][-1]["status"] == "failed"
        assert "Scripted to refuse" not in read.text
        visitor.shown = read.json()
        await visitor.send("Anybody there?")
        assert visitor.said[-1] == ("Anybody there?", "Here I am.")
        assert WORDS not in json.dumps(visitor.shown)


async def test_greeting_that_fails_opens_no_chat(site: Site, caller: Caller, scripted: Scripted) -> None:
    definition = {"name": "silent", "start": "desk", "nodes": {"desk": {"prompt": "Greet."}}}
    agent = await caller.push({**definition, "model": scripted(ErrorReply(401)).string})
    _, token = await site.new_token(caller, agent)
    async with site.visitor(token) as visitor:
        assert done(await visitor.init(), 500) == {"detail": "Assistant failed to respond"}


async def test_spending_limit_is_an_unavailable_agent(site: Site, caller: Caller) -> None:
    token = await site.token(caller, model=f"openai-chat:{PRICED}")
    async with site.visitor(token) as visitor:
        await visitor.open()
        await OrganizationStore(site.apis[0].database).set_terms(caller.organization, {"monthly_limit": Decimal(0)})
        unavailable = {"detail": "The agent is unavailable right now"}
        async with site.visitor(token, api=1) as other:
            assert done(await other.init(), 402) == unavailable


async def test_tokens_open_their_own_chats_only(site: Site, widget: Widget, caller: Caller) -> None:
    opened = await widget.open()
    session = (await eventually(lambda: caller.items("/v1/sessions")))[0]  # listed once it is settled
    async with site.visitor(widget.token) as other:
        await other.open()
        assert other.session_token != widget.session_token
        await other.send("My secret is 4711.")
    assert "4711" not in (await widget.read()).text
    unknown = ("emb_session_x", widget.token, session["id"], str(opened["workflow_run_id"]), "%00", "%2e%2e")
    for session_token in unknown:
        stranger = Widget(widget.http, widget.token, session_token)
        assert done(await stranger.read(), 404) == INVALID
        assert done(await stranger.post("messages", text="Hi"), 404) == INVALID
        assert done(await stranger.post("end"), 404) == INVALID
    key = caller.http.headers["authorization"].removeprefix("Bearer ")
    for token in ("", "emb_x", widget.session_token, key, "dev"):
        invalid = await Widget(widget.http, token).init()
        assert done(invalid, 404) == {"detail": "Invalid embed token"}
    for secret in (widget.token, widget.session_token):
        async with site.apis[0].stranger(Authorization=f"Bearer {secret}") as holder:
            problem(await holder.get(f"/v1/sessions/{session['id']}"), 401, "unauthenticated")


async def test_agent_and_version_are_those_of_the_token(site: Site, caller: Caller) -> None:
    first = await caller.push(library())
    await caller.push(library(nodes={"desk": {"prompt": "Help.", "greeting": "The new desk."}}))
    _, pinned = await site.new_token(caller, first, agent_version=1)
    _, latest = await site.new_token(caller, first)
    for token, greeting in ((pinned, GREETING), (latest, "The new desk.")):
        async with site.visitor(token) as visitor:
            await visitor.open(agent="other", version=2)
            assert visitor.said == [(None, greeting)]


async def test_no_token_is_in_a_log_line(widget: Widget) -> None:
    with capture_logs() as lines:
        done(await widget.configuration(), 200)
        await widget.open()
        await widget.send("Hello?")
        done(await widget.read(), 200)
    routes = {line["route"] for line in lines if line["event"] == "request"}
    assert f"{EMBED}/chat/{{session_token}}/messages" in routes
    assert not [line for line in lines if widget.token in str(line) or widget.session_token in str(line)]


# --- limits ---------------------------------------------------------------------------------------------------------


async def test_chat_ends_at_fifty_turns_also_at_two_apis_at_once(site: Site, widget: Widget) -> None:
    await widget.open()
    for number in range(MAX_TURNS - 2):
        site.clock.forward(seconds=10)
        await widget.send(f"Message {number}")
    assert len(widget.shown["turns"]) == MAX_TURNS - 1
    async with site.visitor(widget.token, api=1) as elsewhere:
        elsewhere.session_token = widget.session_token
        revision = widget.shown["revision"]
        bodies = [{}, {"expected_revision": revision}, {"expected_revision": revision + 2}, {}]
        sent = await asyncio.gather(
            *(
                page.post("messages", text="The last one", **body)
                for page in (widget, elsewhere)
                for body in bodies[:2]
            ),
            *(
                page.post("messages", text="The last one", **body)
                for page in (widget, elsewhere)
                for body in bodies[2:]
            ),
        )
        statuses = [response.status_code for response in sent]
        assert statuses.count(200) == 1, statuses
        assert set(statuses) <= {200, 409, 429}
        site.clock.forward(seconds=60)
        for page in (widget, elsewhere):
            assert done(await page.post("messages", text="One more"), 429) == LAST_TURN
            assert len(done(await page.read(), 200)["turns"]) == MAX_TURNS


@pytest.mark.parametrize("ahead", [None, 2])
async def test_message_counted_before_the_last_turn_opens_no_turn_after_it(
    site: Site, widget: Widget, monkeypatch: pytest.MonkeyPatch, ahead: int | None
) -> None:
    monkeypatch.setattr("api.dograh.embed_limits.MAX_TURNS", 3)
    await widget.open()
    await widget.send("The second turn")
    counted, go_on = asyncio.Event(), asyncio.Event()
    answer = MessageService.answer

    async def held(self: MessageService, session: StoredSession, command: TurnCommand) -> Snapshot:
        if not counted.is_set():
            counted.set()
            await go_on.wait()
        return await answer(self, session, command)

    monkeypatch.setattr(MessageService, "answer", held)
    expected = {} if ahead is None else {"expected_revision": widget.shown["revision"] + ahead}
    early = asyncio.create_task(widget.post("messages", text="One too many", **expected))
    waiting = asyncio.create_task(counted.wait())
    await asyncio.wait([early, waiting], return_when=asyncio.FIRST_COMPLETED)
    counted.set()
    async with site.visitor(widget.token, api=1) as elsewhere:
        elsewhere.session_token = widget.session_token
        assert len(done(await elsewhere.post("messages", text="The last turn"), 200)["turns"]) == 3
        go_on.set()
        assert done(await early, 409)["detail"]["message"] == "Text chat session revision conflict"
        await waiting
        assert len(done(await elsewhere.read(), 200)["turns"]) == 3


async def test_failed_turns_count_too(
    site: Site, caller: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dograh.embed_limits.MAX_TURNS", 3)
    token = await site.token(caller, model=scripted(ErrorReply(401), ErrorReply(401), TextReply("Here.")).string)
    async with site.visitor(token) as visitor:
        await visitor.open()
        done(await visitor.post("messages", text="Hello?"), 500)
        done(await visitor.post("messages", text="Hello?"), 500)
        assert done(await visitor.post("messages", text="Hello?"), 429) == LAST_TURN


async def test_chats_of_an_address_are_limited_across_apis(site: Site, caller: Caller) -> None:
    token = await site.token(caller)
    async with site.visitor(token) as one, site.visitor(token, api=1) as other, site.visitor(token) as neighbour:
        other.http.headers["x-forwarded-for"] = one.http.headers["x-forwarded-for"].replace("::1", "::abcd")
        for number in range(OPENINGS_OF_ADDRESS.burst):
            await (one, other)[number % 2].open()
        for page in (one, other):
            refused = await page.init()
            assert done(refused, 429) == {"detail": "Too many chat sessions. Please try again shortly"}
            assert refused.headers["retry-after"] == "6"
            assert allowed_origin(refused) == SHOP
        await neighbour.open()
        site.clock.forward(seconds=6)
        await other.open()
        done(await one.init(), 429)


async def test_chats_of_a_token_are_limited_across_apis(site: Site, caller: Caller) -> None:
    token = await site.token(caller)
    other_token = await site.token(caller)

    async def opened(number: int, secret: str = token) -> int:
        async with site.visitor(secret, api=number % 2) as visitor:
            return (await visitor.init()).status_code

    statuses = [await opened(number) for number in range(OPENINGS_OF_TOKEN.burst + 3)]
    assert statuses == [200] * OPENINGS_OF_TOKEN.burst + [429] * 3
    assert await opened(0, other_token) == 200
    site.clock.forward(milliseconds=200)
    assert await opened(1) == 200


async def test_messages_of_a_session_are_rate_limited(site: Site, widget: Widget) -> None:
    await widget.open()
    for number in range(5):
        await widget.send(f"Message {number}")
    refused = await widget.post("messages", text="One more")
    assert done(refused, 429) == {"detail": "Too many messages. Please try again shortly"}
    async with site.visitor(widget.token, api=1) as elsewhere:
        elsewhere.session_token = widget.session_token
        done(await elsewhere.post("messages", text="One more"), 429)
        site.clock.forward(seconds=1)
        done(await elsewhere.post("messages", text="One more"), 200)


async def test_wrong_tokens_are_limited_by_address(site: Site) -> None:
    async with site.visitor("emb_wrong") as visitor:
        visitor.session_token = "emb_session_wrong"
        statuses = [(await visitor.read()).status_code for _ in range(40)]
        statuses += [(await visitor.post("messages", text="Hi")).status_code for _ in range(20)]
        assert statuses == [404] * 60
        assert (await visitor.post("messages", text="Hi")).status_code == 429
        assert (await visitor.configuration()).status_code == 429
        assert [(await visitor.init()).status_code for _ in range(11)] == [404] * 10 + [429]


async def test_forwarded_addresses_count_behind_trusted_proxies_only(
    running_api: RunningApi, site: Site, caller: Caller
) -> None:
    token = await site.token(caller)
    async with serving(running_api.settings, running_api.client, running_api.database, clock=site.clock) as direct:
        shown = Site((direct,), site.clock)
        await forget_rates(running_api.database)
        statuses = []
        for _ in range(OPENINGS_OF_ADDRESS.burst + 1):
            async with shown.visitor(token) as visitor:
                statuses.append((await visitor.init()).status_code)
    await forget_rates(running_api.database)
    assert statuses == [200] * OPENINGS_OF_ADDRESS.burst + [429]


# --- ends -----------------------------------------------------------------------------------------------------------


async def test_revoked_token_stops_at_once_at_both_apis(site: Site, caller: Caller) -> None:
    token_id, token = await site.new_token(caller, await caller.push(library()))
    async with site.visitor(token) as one, site.visitor(token, api=1) as other:
        await one.open()
        await other.open()
        assert await EmbedStore(site.apis[0].database).revoke(token_id, site.clock.now)
        for page in (one, other):
            answers = (
                await page.configuration(),
                await page.init(),
                await page.read(),
                await page.post("messages", text="Hi"),
                await page.post("end"),
            )
            for answer in answers:
                assert done(answer, 403) == INACTIVE
                assert allowed_origin(answer) == SHOP, "the page may read why"


async def test_deleted_token_stops_at_once_at_both_apis(site: Site, caller: Caller) -> None:
    agent = await caller.push(library())
    _, token = await site.new_token(caller, agent)
    async with site.visitor(token) as one, site.visitor(token, api=1) as other:
        for page in (one, other):
            done(await page.configuration(), 200)
        assert (await caller.http.delete(f"/v1/agents/{agent['id']}")).status_code == 204
        for page in (one, other):
            assert done(await page.configuration(), 404) == {"detail": "Invalid embed token"}
            assert done(await page.init(), 404) == {"detail": "Invalid embed token"}


async def test_erased_session_is_unknown_at_both_apis(site: Site, widget: Widget, caller: Caller) -> None:
    await widget.open()
    async with site.visitor(widget.token, api=1) as elsewhere:
        elsewhere.session_token = widget.session_token
        done(await elsewhere.read(), 200)
        (session,) = await caller.items("/v1/sessions")
        assert (await caller.http.delete(f"/v1/sessions/{session['id']}")).status_code == 204
        for page in (widget, elsewhere):
            for answer in (await page.read(), await page.post("messages", text="Hi"), await page.post("end")):
                assert done(answer, 404) == INVALID
                assert allowed_origin(answer) == SHOP, "the page may read why"


async def test_tokens_expire_and_are_used_up(site: Site, caller: Caller) -> None:
    agent = await caller.push(library())
    _, expiring = await site.new_token(caller, agent, expires_at=site.clock.now.replace(year=2100))
    _, limited = await site.new_token(caller, agent, max_sessions=2)
    async with site.visitor(limited) as one, site.visitor(limited, api=1) as other, site.visitor(expiring) as third:
        await one.open()
        await other.open()
        for page in (one, other):
            assert done(await page.init(), 403) == {"detail": "Embed token usage limit exceeded"}
        site.clock.forward(minutes=59)
        done(await one.read(), 200)
        site.clock.forward(minutes=1)
        for answer in (await one.read(), await other.post("messages", text="Hi")):
            assert done(answer, 403) == {"detail": "Session expired"}
        await third.open()
        site.clock.now = site.clock.now.replace(year=2100, month=12, day=31)
        assert done(await third.init(), 403) == {"detail": "Embed token has expired"}


# --- pages ----------------------------------------------------------------------------------------------------------


async def test_only_pages_of_the_tokens_origins_can_read_responses(site: Site, widget: Widget, caller: Caller) -> None:
    await widget.open()
    paths = {f"{EMBED}/init": "POST", f"{EMBED}/config/{widget.token}": "GET", widget.path: "GET"}
    paths |= {f"{widget.path}/messages": "POST", f"{widget.path}/end": "POST"}
    other_shop = "https://other.example"
    other_token = await site.token(caller, origins=[other_shop])
    for path, method in paths.items():
        allowed = await widget.preflight(path, method)
        assert (allowed.status_code, allowed_origin(allowed)) == (200, SHOP), path
        assert allowed.headers["access-control-allow-headers"].lower() == "content-type"
        assert "access-control-allow-credentials" not in allowed.headers
        assert allowed.headers["vary"] == "Origin"
    for origin in (EVIL, other_shop, f"{SHOP}.evil.example", f"{SHOP}:8443", "http://shop.example.com", "null"):
        async with site.visitor(widget.token, origin=origin) as page:
            page.session_token = widget.session_token
            for path, method in paths.items():
                if origin != other_shop or not path.endswith("/init"):
                    assert allowed_origin(await page.preflight(path, method)) is None, (origin, path)
            for answer in (await page.configuration(), await page.init(), await page.read(), await page.post("end")):
                assert done(answer, 403) == {"detail": f"Domain not allowed: {origin}"}
                assert allowed_origin(answer) is None
    async with site.visitor(other_token, origin=EVIL) as page:
        assert allowed_origin(await page.preflight(f"{EMBED}/init")) is None
    async with site.visitor(widget.token, origin=None) as program:
        assert done(await program.init(), 403) == {"detail": "Domain not allowed: "}
        own_page = await program.http.get(f"{EMBED}/config/{widget.token}", headers={"Referer": f"{SHOP}/cart?x=1"})
        assert done(own_page, 200)


async def test_subdomains_and_any_origin_can_be_allowed(site: Site, caller: Caller) -> None:
    agent = await caller.push(library())
    _, below = await site.new_token(caller, agent, origins=["https://*.example.com", "http://localhost:3000"])
    _, open_to_all = await site.new_token(caller, agent, origins=["*"])
    cases = {
        "https://a.example.com": 200,
        "https://a.b.example.com": 200,
        "http://localhost:3000": 200,
        "https://example.com": 403,
        "https://evilexample.com": 403,
        "http://a.example.com": 403,
        "https://*.example.com": 403,
    }
    for origin, status in cases.items():
        async with site.visitor(below, origin=origin) as page:
            answer = await page.configuration()
            assert (answer.status_code, allowed_origin(answer)) == (status, origin if status == 200 else None), origin
    for any_origin in (EVIL, "null", None):
        async with site.visitor(open_to_all, origin=any_origin) as page:
            answer = await page.configuration()
            assert (answer.status_code, allowed_origin(answer)) == (200, any_origin)


async def test_allowed_origins_of_the_setting_do_not_apply_to_tokens(
    running_api: RunningApi, site: Site, caller: Caller
) -> None:
    token = await site.token(caller)
    for setting in ((EVIL,), ("*",)):
        settings = running_api.settings.model_copy(update={"allowed_origins": setting})
        async with serving(settings, running_api.client, running_api.database, clock=site.clock) as api:
            pages = Site((api,), site.clock)
            async with pages.visitor(token, origin=EVIL) as evil, pages.visitor(token) as shop:
                assert allowed_origin(await evil.preflight(f"{EMBED}/config/{token}", "GET")) is None
                assert allowed_origin(await evil.configuration()) is None
                assert allowed_origin(await shop.preflight(f"{EMBED}/init")) == SHOP
                assert allowed_origin(await shop.configuration()) == SHOP
