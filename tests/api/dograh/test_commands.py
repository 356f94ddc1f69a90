"""The commands of the text chat: their responses, effects and errors."""

import asyncio
import json
from collections.abc import Callable

import pytest
from pytest_httpserver import HTTPServer

from tests.api.conftest import quick_settings
from tests.api.dograh.dental import GREETING
from tests.api.dograh.panel import NAME, TURN, Panel, chats_of, imported
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json, RunningApi, done, serving
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

CONFLICT = "Text chat session revision conflict"
ENDED = {"detail": "Text chat session has ended"}
UNKNOWN = {"detail": "Text chat session not found"}
NOWHERE = (0, -1, 2**40, 2**63, 10**30)


@pytest.fixture
async def panel(caller: Caller, scripted: Scripted) -> Panel:
    """A new text chat, whose model repeats the user's messages."""
    return await Panel.open(caller, await imported(caller, scripted().string))


# --- opening --------------------------------------------------------------------------------------------------------


async def test_a_new_text_chat_has_greeted_and_is_at_revision_two(panel: Panel) -> None:
    assert panel.said == [(None, GREETING)]
    assert (panel.revision, panel.data["status"], panel.shown["state"]) == (2, "idle", "running")
    assert NAME.fullmatch(panel.shown["name"])
    assert TURN.fullmatch(panel.turns[0]["id"])


async def test_annotations_always_say_who_the_tester_is(caller: Caller, scripted: Scripted) -> None:
    workflow_id = await imported(caller, scripted().string)
    by_default = {"tester": {"source": "workflow_editor", "modality": "text"}}
    assert (await Panel.open(caller, workflow_id)).shown["annotations"] == by_default
    assert (await Panel.open(caller, workflow_id, annotations=None)).shown["annotations"] == by_default
    added = (await Panel.open(caller, workflow_id, annotations={"ticket": 7})).shown["annotations"]
    assert added == {**by_default, "ticket": 7}
    own = {"tester": {"source": "script", "modality": "text"}}
    assert (await Panel.open(caller, workflow_id, annotations=own)).shown["annotations"] == own


async def test_a_name_and_a_context_are_kept_and_an_empty_name_is_none(caller: Caller, scripted: Scripted) -> None:
    workflow_id = await imported(caller, scripted().string)
    named = await Panel.open(caller, workflow_id, name="Trial", initial_context={"time_of_day": "evening"})
    assert (named.shown["name"], named.shown["initial_context"]) == ("Trial", {"time_of_day": "evening"})
    assert named.said == [(None, "Good evening, Larkspur Dental.")]
    unnamed = await Panel.open(caller, workflow_id, name="", initial_context=None)
    assert NAME.fullmatch(unnamed.shown["name"])
    assert unnamed.shown["initial_context"] == {}


async def test_variables_fetched_before_the_greeting_join_the_initial_context(
    caller: Caller, scripted: Scripted, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/who", method="POST").respond_with_json({"time_of_day": "night", "visits": 2})
    fetching = {"pre_call_fetch_mode": "always", "pre_call_fetch_url": httpserver.url_for("/who")}
    workflow_id = await imported(caller, scripted().string, **fetching)
    panel = await Panel.open(caller, workflow_id, initial_context={"caller_number": "+1555"})
    assert panel.said == [(None, "Good night, Larkspur Dental.")]
    await panel.send("Hello?")
    fetched = {"caller_number": "+1555", "time_of_day": "night", "visits": 2}
    assert panel.shown["initial_context"] == (await panel.run())["initial_context"] == fetched
    ((request, _),) = httpserver.log
    assert request.get_json() == {
        "event": "call_inbound",
        "call_inbound": {"agent_id": workflow_id, "from_number": "+1555", "to_number": ""},
    }


async def test_a_text_chat_with_an_unknown_agent_is_not_found(caller: Caller) -> None:
    for number in NOWHERE:
        missing = done(await caller.post(chats_of(number), {}), 404)
        assert missing == {"detail": f"Workflow with ID {number} not found"}


async def test_a_greeting_that_fails_is_a_server_error(caller: Caller, scripted: Scripted) -> None:
    definition: Json = {"name": "silent", "start": "desk", "nodes": {"desk": {"prompt": "Greet."}}}
    agent = await caller.push({**definition, "model": scripted(ErrorReply(401)).string})
    failed = await caller.post(chats_of(agent["workflow_id"]), {})
    detail = done(failed, 500)["detail"]
    assert detail.startswith("Failed to execute text chat assistant turn: ")
    assert "Scripted to refuse with 401." in detail


# --- messages -------------------------------------------------------------------------------------------------------


async def test_a_message_with_its_reply_raises_the_revision_by_two(panel: Panel) -> None:
    await panel.send("Hello?")
    assert panel.revision == 4
    without = done(await panel.post("messages", text="Hello again?"), 200)
    assert without["revision"] == 6
    assert without["session_data"]["turns"][-1]["assistant_message"]["text"] == "You said: Hello again?"


async def test_unknown_fields_are_ignored(panel: Panel) -> None:
    done(await panel.post("messages", text="Hello?", color="red"), 200)


async def test_an_empty_message_is_refused(panel: Panel) -> None:
    for body, kind in (({"text": ""}, "string_too_short"), ({"text": "  "}, "value_error"), ({}, "missing")):
        (fault,) = done(await panel.caller.post(f"{panel.path}/messages", body), 422)["detail"]
        assert (fault["type"], fault["loc"][0]) == (kind, "body")
    assert await panel.reload() == panel.shown


async def test_a_failed_turn_keeps_its_error_and_the_next_message_goes_on_before_it(
    caller: Caller, scripted: Scripted
) -> None:
    model = scripted(ErrorReply(401), TextReply("Here I am."))
    panel = await Panel.open(caller, await imported(caller, model.string))
    failed = await panel.post("messages", text="Hello?")
    detail = done(failed, 500)["detail"]
    assert detail.startswith("Failed to execute text chat assistant turn: ")
    assert "Scripted to refuse with 401." in detail
    await panel.reload()
    lost = panel.turns[-1]
    assert (panel.data["status"], panel.shown["state"], lost["status"]) == ("error", "running", "failed")
    assert (lost["user_message"]["text"], lost["assistant_message"]) == ("Hello?", None)
    assert "checkpoint_after_turn" not in lost
    (error,) = [event for event in lost["events"] if event["type"] == "execution_error"]
    assert "Scripted to refuse with 401." in error["payload"]["message"]
    assert panel.shown["checkpoint"]["anchor_turn_id"] == panel.turns[0]["id"]

    await panel.send("Anybody there?")
    assert panel.data["status"] == "idle"
    assert [text for role, text in model.journal[-1].conversation if role == "user"][-1] == "Anybody there?"
    assert "Hello?" not in str(model.journal[-1].conversation)
    spoken = [message["content"] for message in panel.shown["checkpoint"]["messages"]]
    assert spoken == [GREETING, "Anybody there?", "Here I am."]
    entries = (await panel.run())["logs"]["realtime_feedback_events"]
    assert [entry["payload"]["fatal"] for entry in entries if entry["type"] == "rtf-pipeline-error"] == [True]


# --- rewinding ------------------------------------------------------------------------------------------------------


async def test_turns_past_the_cursor_are_listed_until_the_next_message_is_sent(panel: Panel) -> None:
    for text in ("One", "Two", "Three"):
        await panel.send(text)
    before = panel.turns
    await panel.take_back(before[2])
    assert (panel.data["status"], panel.data["cursor_turn_id"], panel.revision) == ("rewound", before[1]["id"], 9)
    assert panel.turns == before
    assert panel.data["discarded_future"] == []

    await panel.send("Another two")
    assert [turn["id"] for turn in panel.turns[:-1]] == [turn["id"] for turn in before[:2]]
    assert (panel.data["status"], panel.data["cursor_turn_id"]) == ("idle", None)
    (future,) = panel.data["discarded_future"]
    assert (future["rewound_from_turn_id"], future["turns"]) == (before[1]["id"], before[2:])


async def test_a_null_cursor_means_no_rewind(panel: Panel) -> None:
    await panel.send("One")
    await panel.take_back(panel.turns[-1])
    back = done(await panel.post("rewind", cursor_turn_id=None, expected_revision=panel.revision), 200)
    assert (back["session_data"]["status"], back["session_data"]["cursor_turn_id"], back["revision"]) == (
        "idle",
        None,
        6,
    )
    done(await panel.post("rewind"), 200)


async def test_a_rewind_to_an_unknown_turn_is_not_found(panel: Panel) -> None:
    refused = done(await panel.post("rewind", cursor_turn_id="turn_000000000000"), 404)
    assert refused == {"detail": "Turn not found in text chat session"}


async def test_the_run_log_has_only_the_visible_branch(panel: Panel) -> None:
    for text in ("One", "Two"):
        await panel.send(text)
    await panel.take_back(panel.turns[-1])
    assert await logged_texts(panel) == [GREETING, "One", "You said: One"]
    await panel.send("Another two")
    assert await logged_texts(panel) == [GREETING, "One", "You said: One", "Another two", "You said: Another two"]


async def logged_texts(panel: Panel) -> list[str]:
    """The messages in the run log."""
    entries = (await panel.run())["logs"]["realtime_feedback_events"]
    assert [entry["timestamp"] for entry in entries] == sorted(entry["timestamp"] for entry in entries)
    return [entry["payload"]["text"] for entry in entries if "text" in entry["payload"]]


# --- ending ---------------------------------------------------------------------------------------------------------


async def test_an_ended_text_chat_takes_no_commands_but_another_end(panel: Panel) -> None:
    first = done(await panel.caller.post(f"{panel.path}/end"), 200)
    assert (first["state"], first["is_completed"], first["revision"]) == ("completed", True, 3)
    assert first["session_data"]["status"] == "completed"
    assert first["gathered_context"] == {
        "nodes_visited": ["Reception"],
        "extracted_variables": {},
        "call_status": "user_hangup",
        "call_disposition": "user_hangup",
        "mapped_call_disposition": "user_hangup",
        "call_tags": ["user_hangup"],
    }
    assert done(await panel.post("messages", text="Wait!"), 400) == ENDED
    assert done(await panel.post("rewind", cursor_turn_id=None), 400) == ENDED
    again = done(await panel.post("end", expected_revision=1), 200)
    assert again == first


async def test_a_text_chat_that_ended_after_a_rewind_reads_the_same_from_the_store(
    running_api: RunningApi, panel: Panel
) -> None:
    for text in ("One", "Two"):
        await panel.send(text)
    await panel.take_back(panel.turns[-1])
    turns = panel.turns
    ended = await panel.end()
    await running_api.client.get_workflow_handle(f"session-{await panel.session_id()}").result()
    assert await panel.reload() == ended
    assert [turn["id"] for turn in panel.turns] == [turn["id"] for turn in turns]


async def test_a_long_text_chat_is_shown_whole(
    running_api: RunningApi, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("One", "Two", "Three"):
        await panel.send(text)
    whole = await panel.end()
    await running_api.client.get_workflow_handle(f"session-{await panel.session_id()}").result()
    monkeypatch.setattr("api.sessions.reader.MAX_VISIBLE_TURNS", 2)
    assert await panel.reload() == whole


async def test_the_duration_is_the_wall_clock_of_the_session(panel: Panel) -> None:
    await panel.send("One")
    await panel.end()
    run = await panel.run()
    session = done(await panel.caller.get(f"/v1/sessions/{await panel.session_id()}"), 200)
    seconds = int(session["usage"]["duration_seconds"])
    assert run["usage_info"]["call_duration_seconds"] == run["cost_info"]["call_duration_seconds"] == seconds


# --- rejections -----------------------------------------------------------------------------------------------------


async def test_a_stale_revision_is_refused_with_both_numbers_and_changes_nothing(panel: Panel) -> None:
    commands: list[tuple[str, Json]] = [
        ("messages", {"text": "Hello?"}),
        ("rewind", {"cursor_turn_id": None}),
        ("end", {}),
    ]
    for command, body in commands:
        refused = done(await panel.post(command, **body, expected_revision=1), 409)
        assert refused == {"detail": {"message": CONFLICT, "expected_revision": 1, "actual_revision": 2}}
    assert await panel.reload() == panel.shown


async def test_an_unknown_text_chat_or_run_is_not_found(panel: Panel) -> None:
    for number in NOWHERE:
        path = f"{chats_of(panel.workflow_id)}/{number}"
        assert done(await panel.caller.get(path), 404) == UNKNOWN
        assert done(await panel.caller.post(f"{path}/messages", {"text": "Hello?"}), 404) == UNKNOWN
        run = await panel.caller.get(f"/api/v1/workflow/{panel.workflow_id}/runs/{number}")
        assert done(run, 404) == {"detail": "Workflow run not found"}


async def test_a_text_chat_is_found_under_its_own_agent_and_organization_only(
    running_api: RunningApi, panel: Panel, scripted: Scripted
) -> None:
    run_id = panel.shown["workflow_run_id"]
    definition: Json = {"name": "other", "start": "desk", "nodes": {"desk": {"prompt": "Wait.", "greeting": "Yes?"}}}
    other = await panel.caller.push({**definition, "model": scripted().string})
    assert done(await panel.caller.get(f"{chats_of(other['workflow_id'])}/{run_id}"), 404) == UNKNOWN
    async with running_api.caller() as stranger:
        assert done(await stranger.get(panel.path), 404) == UNKNOWN
        missing = {"detail": f"Workflow with ID {panel.workflow_id} not found"}
        assert done(await stranger.post(chats_of(panel.workflow_id), {}), 404) == missing


async def test_a_call_without_a_key_gets_the_error_format_of_dograh(running_api: RunningApi, panel: Panel) -> None:
    async with running_api.stranger() as stranger:
        response = await stranger.get(panel.path)
    assert set(done(response, 401)) == {"detail"}
    assert response.headers["www-authenticate"] == "Bearer"


async def test_invalid_json_and_ids_get_the_error_format_of_dograh(panel: Panel) -> None:
    headers = {"Content-Type": "application/json"}
    broken = await panel.caller.http.post(f"{panel.path}/messages", content="{", headers=headers)
    assert done(broken, 422)["detail"][0]["type"] == "json_invalid"
    assert done(await panel.caller.get(f"{chats_of(panel.workflow_id)}/x"), 422)["detail"][0]["loc"] == [
        "path",
        "run_id",
    ]


async def test_without_a_worker_the_request_times_out_with_an_explanation(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    workflow_id = await imported(caller, scripted().string)
    without_worker = quick_settings(running_api.settings.database_url, "nobody-works-here", request_timeout_seconds=0.5)
    async with (
        serving(without_worker, running_api.client, running_api.database) as other,
        other.caller(caller.organization) as alone,
    ):
        late = done(await alone.post(chats_of(workflow_id), {}), 504)
        assert "is a worker running?" in late["detail"]
        (session,) = await alone.items("/v1/sessions") or [{"id": None}]
    assert session["id"] is None, "what was never settled is not listed"


async def test_a_message_while_the_agent_answers_is_refused_and_nothing_is_lost(
    caller: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("One moment.", gate=gate))
    panel = await Panel.open(caller, await imported(caller, model.string))
    sending = asyncio.create_task(panel.post("messages", text="First"))
    await gate.reached()
    await panel.reload()
    pending = panel.turns[-1]
    assert (panel.data["status"], pending["status"], pending["usage"]) == ("pending_assistant_turn", "pending", {})
    refused = done(await panel.post("messages", text="Second", expected_revision=panel.revision), 409)
    assert refused["detail"]["turn_id"] == pending["id"]
    gate.open()
    answered = done(await sending, 200)
    assert [turn["id"] for turn in answered["session_data"]["turns"]] == [turn["id"] for turn in panel.turns]


async def test_the_result_of_an_unknown_tool_is_text_in_the_run_log(caller: Caller, scripted: Scripted) -> None:
    model = scripted(ToolCallReply("nowhere", '{"floor": 2}'), TextReply("I am here."))
    panel = await Panel.open(caller, await imported(caller, model.string))
    await panel.send("Go away.")
    called, returned = panel.turns[-1]["events"]
    assert (called["type"], called["payload"]["arguments"]) == ("tool_call_started", {"floor": 2})
    assert called["payload"]["function_name"] == returned["payload"]["function_name"] == "nowhere"
    entries = (await panel.run())["logs"]["realtime_feedback_events"]
    (ended,) = [entry for entry in entries if entry["type"] == "rtf-function-call-end"]
    assert isinstance(ended["payload"]["result"], str)


# --- workflows and their runs ---------------------------------------------------------------------------------------


async def test_a_workflow_and_its_runs_are_listed(
    caller: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = await imported(caller, scripted().string)
    path = f"/api/v1/workflow/{workflow_id}"
    workflow = done(await caller.get(path), 200)
    assert (workflow["id"], workflow["name"], workflow["version_number"]) == (workflow_id, "dental", 2)
    assert [node["id"] for node in workflow["workflow_definition"]["nodes"]][:3] == ["1", "2", "3"]
    panels = [await Panel.open(caller, workflow_id) for _ in range(3)]
    for panel in panels:
        await caller.recorded(await panel.session_id(), turns=1)
    first = done(await caller.get(f"{path}/runs", limit=2), 200)
    assert (first["total_count"], first["total_pages"], first["page"], len(first["runs"])) == (3, 2, 1, 2)
    rest = done(await caller.get(f"{path}/runs", limit=2, page=2), 200)
    listed = [run["id"] for run in [*first["runs"], *rest["runs"]]]
    assert listed == [panel.shown["workflow_run_id"] for panel in reversed(panels)]
    assert {run["state"] for run in first["runs"]} == {"running"}
    assert first["applied_filters"] is None
    with monkeypatch.context() as patch:
        patch.setattr("api.routes.dograh.MAX_PAGE_BYTES", 2 * len(json.dumps(first["runs"][0])))
        too_large = done(await caller.get(f"{path}/runs", limit=3), 422)["detail"]
        assert "Ask for a limit of 2 or less" in too_large
        done(await caller.get(f"{path}/runs", limit=2), 200)
        patch.setattr("api.routes.dograh.MAX_PAGE_BYTES", 1)
        assert len(done(await caller.get(f"{path}/runs", limit=1), 200)["runs"]) == 1
    workflows = (await caller.get("/api/v1/workflow/fetch", status="active")).json()
    assert [(each["id"], each["total_runs"]) for each in workflows] == [(workflow_id, 3)]
    fetched = done(await caller.get(f"/api/v1/workflow/fetch/{workflow_id}"), 200)
    assert fetched == done(await caller.get(path), 200)
    assert (await caller.get("/api/v1/workflow/fetch", status="archived")).json() == []
    assert (
        "Invalid workflow status"
        in done(await caller.get("/api/v1/workflow/fetch", status="active,gone"), 422)["detail"]
    )
    for number in NOWHERE:
        done(await caller.get(f"/api/v1/workflow/{number}"), 404)
        done(await caller.get(f"/api/v1/workflow/{number}/runs"), 404)


FILTERED: list[tuple[Json, str]] = [
    ({"attribute": "status", "value": {"status": "completed"}}, "ended"),
    ({"attribute": "status", "value": {"status": "in_progress"}}, "open"),
    ({"attribute": "status", "value": {"status": "nonsense"}}, "both"),
    ({"attribute": "dispositionCode", "value": {"codes": ["user_hangup"]}}, "ended"),
    ({"attribute": "dispositionCode", "value": {"codes": ["XFER"]}}, "none"),
    ({"attribute": "dispositionCode", "value": {"codes": []}}, "both"),
    ({"attribute": "dateRange", "value": {"from": "2020-01-01"}}, "both"),
    ({"attribute": "dateRange", "value": {"to": "2020-01-01T00:00:00Z"}}, "none"),
    ({"attribute": "duration", "value": {"min": 0, "max": 3600}}, "both"),
    ({"attribute": "duration", "value": {"min": 1e300}}, "none"),
    ({"attribute": "tokenUsage", "value": {"min": 0.01}}, "none"),
    ({"attribute": "tokenUsage", "value": {"max": 5}}, "both"),
]


async def test_runs_are_filtered_and_ordered(caller: Caller, scripted: Scripted) -> None:
    workflow_id = await imported(caller, scripted().string)
    path = f"/api/v1/workflow/{workflow_id}/runs"
    ended, still_open = [await Panel.open(caller, workflow_id) for _ in range(2)]
    await ended.end()
    for panel in (ended, still_open):
        await caller.recorded(await panel.session_id(), turns=1)
    numbers = {"ended": ended.shown["workflow_run_id"], "open": still_open.shown["workflow_run_id"]}

    async def completed() -> list[Json]:
        listed: list[Json] = done(await caller.get(path), 200)["runs"]
        return [run for run in listed if run["is_completed"]]

    await eventually(completed)
    for criterion, expected in FILTERED:
        found = done(await caller.get(path, filters=json.dumps([criterion])), 200)
        names = {name for name, number in numbers.items() if number in [run["id"] for run in found["runs"]]}
        wanted = {"both": {"ended", "open"}, "none": set()}.get(expected, {expected})
        assert (names, found["total_count"]) == (wanted, len(wanted)), criterion
        assert found["applied_filters"] == [criterion]
    oldest_first = done(await caller.get(path, sort_order="asc"), 200)["runs"]
    assert [run["id"] for run in oldest_first] == [numbers["ended"], numbers["open"]]
    assert len(done(await caller.get(path, sort_by="duration"), 200)["runs"]) == 2


@pytest.mark.parametrize(
    ("filters", "status"),
    [
        ("{", 400),
        ("{}", 400),
        ("[1]", 400),
        ('[{"attribute": "duration", "value": {"min": "long"}}]', 400),
        ('[{"attribute": "dateRange", "value": {"from": "soon"}}]', 400),
        ("[" * 5_000, 400),
        (json.dumps([{"attribute": "status"}] * 21), 400),
        ('[{"attribute": "initial_context"}]', 403),
        ("x" * 10_001, 422),
    ],
)
async def test_a_filter_that_cannot_be_read_is_refused(
    caller: Caller, scripted: Scripted, filters: str, status: int
) -> None:
    workflow_id = await imported(caller, scripted().string)
    done(await caller.get(f"/api/v1/workflow/{workflow_id}/runs", filters=filters), status)
