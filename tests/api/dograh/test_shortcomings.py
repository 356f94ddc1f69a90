"""Shortcomings of dograh that are solved here, with one test for each.

The fifth, the seventh and the tenth need `/v1`, because the text chat has no commands for them.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import httpx2
from temporalio.api.enums.v1 import EventType

from contracts.sessions import session_workflow_id
from store.sessions.sessions import SessionStore
from tests.api.conftest import PRICED
from tests.api.dograh.dental import GREETING, TO_GOODBYE, TO_VISIT
from tests.api.dograh.panel import Panel, imported
from tests.support.provider import Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json, RunningApi, done
from tests.support.timers import timers_stand_still
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

FIXED_WAIT = 0.2
"""Seconds for which every reply of dograh waits after its last word."""


async def opened(caller: Caller, model: ScriptedModel) -> Panel:
    return await Panel.open(caller, await imported(caller, model.string))


async def test_1_a_turn_goes_on_when_the_request_that_began_it_is_gone(caller: Caller, scripted: Scripted) -> None:
    gate = Gate()
    panel = await opened(caller, scripted(TextReply("At nine.", gate=gate)))
    sending = asyncio.create_task(panel.post("messages", text="When do you open?"))
    await gate.reached()
    sending.cancel()
    with suppress(asyncio.CancelledError, httpx2.HTTPError):
        await sending
    gate.open()

    async def answered() -> bool:
        await panel.reload()
        return panel.said[-1] == ("When do you open?", "At nine.")

    await eventually(answered)
    assert (panel.turns[-1]["status"], panel.data["status"], panel.revision) == ("completed", "idle", 4)


async def test_2_the_usage_of_a_run_counts_each_turn_of_the_ledger_once(caller: Caller, scripted: Scripted) -> None:
    model = scripted(
        ToolCallReply(TO_VISIT),
        TextReply("Which day?"),
        TextReply("Tuesday is full."),
        TextReply("Friday it is."),
        name=PRICED,
    )
    panel = await opened(caller, model)
    for text in ("I need a visit.", "On Tuesday?"):
        await panel.send(text)
    await panel.take_back(panel.turns[-1])
    await panel.send("On Friday?")
    rows = await caller.recorded(await panel.session_id(), turns=4)
    assert len({row["turn_id"] for row in rows}) == len(rows) == 4
    run = await panel.run()
    tokens = [row["usage"]["llm"].get(f"openai:{PRICED}", {}).get("total_tokens", 0) for row in rows]
    assert run["usage_info"]["llm"][f"openai:{PRICED}"]["total_tokens"] == sum(tokens) == 4 * 18
    assert Decimal(str(run["cost_info"]["total_cost_usd"])) == sum(Decimal(row["cost"]["total"]) for row in rows)


async def test_3_tokens_of_a_reply_pending_at_the_end_are_billed(caller: Caller, scripted: Scripted) -> None:
    gate = Gate()
    panel = await opened(caller, scripted(TextReply("At nine.", gate=gate)))
    sending = asyncio.create_task(panel.post("messages", text="When do you open?"))
    await gate.reached()
    ended = done(await panel.post("end"), 200)
    assert ended["state"] == "completed"
    gate.open()
    await sending
    rows = await caller.recorded(await panel.session_id(), turns=2)
    assert sum(used["total_tokens"] for row in rows for used in row["usage"]["llm"].values()) == 18


async def test_4_of_two_messages_at_once_without_a_revision_one_is_refused(caller: Caller, scripted: Scripted) -> None:
    gate = Gate()
    panel = await opened(caller, scripted(TextReply("At nine.", gate=gate)))
    first = asyncio.create_task(panel.post("messages", text="When do you open?"))
    await gate.reached()
    refused = done(await panel.post("messages", text="And when do you close?"), 409)
    assert "is answering another message" in refused["detail"]["message"]
    assert "on_busy" not in refused["detail"]["message"]
    gate.open()
    done(await first, 200)
    await panel.reload()
    assert panel.said == [(None, GREETING), ("When do you open?", "At nine.")]


async def test_5_a_text_chat_can_be_rewound_to_before_its_first_turn(caller: Caller, scripted: Scripted) -> None:
    panel = await opened(caller, scripted())
    await panel.send("Hello?")
    turns = panel.turns
    session_id = await panel.session_id()
    await caller.rewind(session_id, turns[0]["id"], before=True)
    await panel.reload()
    assert (panel.data["status"], panel.data["cursor_turn_id"], panel.turns) == ("rewound", None, turns)
    assert panel.shown["checkpoint"]["anchor_turn_id"] is None
    assert panel.shown["checkpoint"]["messages"] == []
    assert (await panel.run())["logs"] == {"realtime_feedback_events": []}
    await panel.send("A new beginning.")
    assert panel.said == [("A new beginning.", "You said: A new beginning.")]
    assert [future["turns"] for future in panel.data["discarded_future"]] == [turns]


async def test_6_a_rewind_restores_the_gathered_context_everywhere(caller: Caller, scripted: Scripted) -> None:
    model = scripted(
        *(ToolCallReply(TO_VISIT), TextReply("Which day?")),
        *(ToolCallReply(TO_GOODBYE), ToolCallReply("record_variables", '{"day": "Tuesday"}')),
    )
    workflow_id = await imported_without_an_end_node(caller, model)
    panel = await Panel.open(caller, workflow_id)
    await panel.send("I need a visit.")
    await panel.send("On Tuesday.")
    checkpoint = panel.shown["checkpoint"]
    assert (checkpoint["current_node_id"], checkpoint["gathered_context"]) == ("3", {"day": "Tuesday"})
    await panel.take_back(panel.turns[-1])
    checkpoint = panel.shown["checkpoint"]
    assert (checkpoint["current_node_id"], checkpoint["gathered_context"]) == ("2", {})
    restored = {"nodes_visited": ["Reception", "Book a visit"], "extracted_variables": {}}
    assert panel.shown["gathered_context"] == restored
    assert (await panel.run())["gathered_context"] == restored


async def imported_without_an_end_node(caller: Caller, model: ScriptedModel) -> int:
    """The dental practice, whose last node does not end the conversation."""
    workflow_id = await imported(caller, model.string)
    (agent,) = [each for each in await caller.items("/v1/agents") if each["workflow_id"] == workflow_id]
    definition: Json = agent["definition"]
    definition["nodes"]["goodbye"]["end"] = False
    return int((await caller.push(definition))["workflow_id"])


async def test_7_discarded_branches_are_listed_compared_and_restored(caller: Caller, scripted: Scripted) -> None:
    panel = await opened(caller, scripted())
    for text in ("One", "Another one", "Yet another"):
        await panel.send(text)
        await panel.take_back(panel.turns[-1])
    await panel.send("The last one")
    discarded = [future["turns"][0]["user_message"]["text"] for future in panel.data["discarded_future"]]
    assert discarded == ["One", "Another one", "Yet another"]
    path = f"/v1/sessions/{await panel.session_id()}/branches"
    branches = await caller.items(path)
    assert [branch["turns"][0]["user_message"]["text"] for branch in branches] == discarded[::-1]

    compared = done(await caller.get(f"{path}/compare", a=branches[-1]["id"], b="active"), 200)
    assert compared["last_common_turn"]["id"] == panel.turns[0]["id"]
    user_texts = [[turn["user_message"]["text"] for turn in compared[side]["turns"]] for side in ("a", "b")]
    assert user_texts == [["One"], ["The last one"]]

    done(await caller.post(f"{path}/{branches[-1]['id']}/restore"), 200)
    await panel.reload()
    assert [user for user, _ in panel.said] == [None, "One"]
    discarded = [future["turns"][0]["user_message"]["text"] for future in panel.data["discarded_future"]]
    assert sorted(discarded) == ["Another one", "The last one", "Yet another"]


async def test_8_no_turn_repeats_the_conversation_before_it(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    panel = await opened(caller, scripted())
    sentences = [f"This is sentence number {number}." for number in range(6)]
    for sentence in sentences:
        await panel.send(sentence)
    whole = panel.shown["checkpoint"]["messages"]
    assert [message["content"] for message in whole if message["role"] == "user"] == sentences
    added = [message for turn in panel.turns for message in turn["checkpoint_after_turn"]["messages"]]
    assert added == whole, "every turn shows what it added, and together they are the conversation"

    session_id = await panel.session_id()
    await caller.recorded(session_id, turns=len(panel.turns))
    stored = await SessionStore(running_api.database).turns(session_id, leaf_turn_id=panel.turns[-1]["id"], limit=100)
    documents = [turn.model_dump_json() for turn in stored]
    assert [[sentence in document for document in documents].count(True) for sentence in sentences] == [1] * 6


async def test_9_an_idle_text_chat_ends_by_itself(caller: Caller, scripted: Scripted) -> None:
    workflow_id = await imported(caller, scripted().string)
    (agent,) = [each for each in await caller.items("/v1/agents") if each["workflow_id"] == workflow_id]
    await caller.push({**agent["definition"], "limits": {"inactivity_seconds": 5}})
    panel = await Panel.open(caller, workflow_id)

    async def completed() -> bool:
        return bool((await panel.reload())["is_completed"])

    await eventually(completed)
    assert panel.shown["gathered_context"] == {
        "nodes_visited": ["Reception"],
        "extracted_variables": {},
        "call_status": "user_idle_max_duration_exceeded",
        "call_disposition": "user_idle_max_duration_exceeded",
        "mapped_call_disposition": "user_idle_max_duration_exceeded",
        "call_tags": ["user_idle_max_duration_exceeded"],
    }
    assert (await panel.run())["usage_info"]["call_duration_seconds"] >= 5


async def test_10_a_simulated_user_is_switched_on_and_talks(caller: Caller, scripted: Scripted) -> None:
    panel = await opened(caller, scripted(TextReply("We open at nine.")))
    assert panel.data["simulator"] == {"enabled": False, "config": {}}
    waiting = Gate()
    anna = scripted(TextReply("When do you open?"), ToolCallReply("hang_up", '{"reason": "done"}', gate=waiting))
    config = {"goal": "Ask about the opening hours.", "model": anna.string}
    done(await caller.put(f"/v1/sessions/{await panel.session_id()}/simulator", {"config": config}), 200)
    await waiting.reached()
    shown = (await panel.reload())["session_data"]["simulator"]
    assert (shown["enabled"], shown["config"]["goal"]) == (True, config["goal"])
    waiting.open()

    async def completed() -> bool:
        return bool((await panel.reload())["is_completed"])

    await eventually(completed)
    assert panel.said == [(None, GREETING), ("When do you open?", "We open at nine.")]


async def test_11_a_reply_is_complete_when_the_model_is_done(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    panel = await opened(caller, scripted(TextReply("At nine.")))
    # The API and its worker run on this loop. Their timers of such a length do not fire now, so a reply that waited
    # after its last word would be missing; and a wait in the session's workflow would be a timer in its history.
    with timers_stand_still(FIXED_WAIT / 2):
        sending = asyncio.create_task(panel.send("When do you open?"))

        async def sent() -> bool:
            return sending.done()

        await eventually(sent)
    await sending
    assert panel.said[-1] == ("When do you open?", "At nine.")
    session = running_api.client.get_workflow_handle(session_workflow_id(await panel.session_id()))
    events = {event.event_type for event in (await session.fetch_history()).events}
    assert EventType.EVENT_TYPE_TIMER_FIRED not in events
