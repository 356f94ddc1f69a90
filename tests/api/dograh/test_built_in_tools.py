"""Tools that were listed beside an imported graph, called in a text chat."""

from collections.abc import Callable

import pytest

from tests.api.dograh.dental import dental_export
from tests.api.dograh.panel import Panel, imported
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json, done, problem

Scripted = Callable[..., ScriptedModel]

LISTED = [
    {"tool_uuid": "1", "name": "Sum", "category": "calculator", "definition": {"type": "calculator"}},
    {
        "tool_uuid": "2",
        "name": "End Call",
        "category": "end_call",
        "definition": {
            "type": "end_call",
            "config": {"endCallReason": True, "messageType": "custom", "customMessage": "Goodbye, {{caller | you}}."},
        },
    },
    {
        "tool_uuid": "3",
        "name": "Transfer Call",
        "category": "transfer_call",
        "definition": {"type": "transfer_call", "config": {"destination": "+390551234"}},
    },
]


async def opened(caller: Caller, model: ScriptedModel) -> Panel:
    export = {"workflow_definition": dental_export(tool_uuids=["1", "2", "3"]), "name": "practice", "tools": LISTED}
    agent = done(await caller.post("/v1/agents", export, format="dograh"), 201)
    spoken_by = await caller.push({**agent["definition"], "model": model.string})
    return await Panel.open(caller, int(spoken_by["workflow_id"]))


async def of_v1(caller: Caller, panel: Panel) -> Json:
    return done(await caller.get(f"/v1/sessions/{await panel.session_id()}"), 200)


async def test_the_agent_calculates_and_ends_the_chat_with_a_reason(caller: Caller, scripted: Scripted) -> None:
    model = scripted(
        ToolCallReply("safe_calculator", '{"expression": "3 * 0.1"}'),
        TextReply("That is 0.3."),
        ToolCallReply("end_call", '{"reason": "solved"}', text="You are welcome."),
    )
    panel = await opened(caller, model)
    await panel.send("What is three times a tenth?")
    ended = await panel.send("Thank you.")
    assert [said for _, said in panel.said][1:] == ["That is 0.3.", "You are welcome.\n\nGoodbye, you."]
    (result,) = [event for event in panel.turns[1]["events"] if event["type"] == "tool_call_result"]
    assert result["payload"]["result"] == "0.3"
    assert (ended["state"], ended["is_completed"], panel.data["status"]) == ("completed", True, "completed")
    gathered = ended["gathered_context"]
    assert (gathered["call_status"], gathered["call_disposition"]) == ("end_call_tool", "solved")
    assert gathered["call_tags"] == ["end_call_tool", "solved"]
    session = await of_v1(caller, panel)
    assert (session["completion_reason"], session["disposition"]) == ("end_tool", "solved")
    problem(await caller.post(f"/v1/sessions/{session['id']}/messages", {"text": "Hello?"}), 410, "session_ended")


async def test_a_hand_over_ends_the_chat_with_its_target(caller: Caller, scripted: Scripted) -> None:
    panel = await opened(caller, scripted(ToolCallReply("transfer_call", text="I connect you.")))
    ended = await panel.send("A person, please.")
    gathered = ended["gathered_context"]
    assert (ended["is_completed"], gathered["handed_over_to"]) == (True, "+390551234")
    assert gathered["call_disposition"] == gathered["call_status"] == "call_transferred"
    assert (await of_v1(caller, panel))["completion_reason"] == "handed_over"


async def test_an_end_call_without_a_reason_is_returned_to_the_model(caller: Caller, scripted: Scripted) -> None:
    panel = await opened(caller, scripted(ToolCallReply("end_call"), TextReply("One more thing?")))
    shown = await panel.send("Bye.")
    assert (shown["is_completed"], panel.said[-1]) == (False, ("Bye.", "One more thing?"))


@pytest.mark.parametrize("name", ["x" * 201, "x" * 5_000])
async def test_the_length_limit_of_a_name_counts_characters(caller: Caller, scripted: Scripted, name: str) -> None:
    workflow_id = await imported(caller, scripted().string)
    response = await caller.post(f"/api/v1/workflow/{workflow_id}/text-chat/sessions", {"name": name})
    (detail,) = response.json()["detail"]
    assert response.status_code == 422
    assert "200 characters" in detail["msg"]
