"""One conversation of dograh's own client, with the exact response to each request."""

from collections.abc import Callable

from tests.api.conftest import PRICED
from tests.api.dograh.dental import TO_GOODBYE, TO_VISIT
from tests.api.dograh.panel import Panel, documented, imported, plain
from tests.support.provider import Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json
from tests.support.waiting import eventually


async def test_a_client_of_dograh_gets_exactly_the_documented_json(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    looking_back = Gate()
    model = scripted(
        *(ToolCallReply(TO_VISIT), TextReply("Which day?"), TextReply("Tuesday is full."), TextReply("Friday it is.")),
        ToolCallReply("record_variables", '{"day": "Friday"}', gate=looking_back),
        name=PRICED,
    )
    workflow_id = await imported(caller, model.string)
    panel = await Panel.open(caller, workflow_id, initial_context={"time_of_day": "afternoon"})
    same_as(documented("created"), panel.shown)
    assert panel.shown["workflow_id"] == workflow_id
    assert panel.revision == 2

    same_as(documented("replied"), await panel.send("I need a visit."))
    assert panel.revision == 4
    await panel.send("On Tuesday?")
    same_as(documented("rewound"), await panel.take_back(panel.turns[-1]))
    assert panel.revision == 7
    same_as(documented("sent_again"), await panel.send("On Friday?"))
    assert panel.revision == 9

    same_as(documented("ended"), await panel.end())
    assert await panel.reload() == panel.shown
    assert await panel.end() == panel.shown, "an end of an ended session changes nothing"

    # The variables of the current node are extracted after the end, and are part of the run.
    looking_back.open()
    same_as(documented("run"), await eventually(lambda: run_with_the_day(panel)))


async def run_with_the_day(panel: Panel) -> Json | None:
    run = await panel.run()
    return run if "day" in run["gathered_context"] else None


async def test_a_conversation_that_reaches_the_end_node_is_completed(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    model = scripted(
        *(ToolCallReply(TO_VISIT), TextReply("Which day?")),
        *(
            ToolCallReply(TO_GOODBYE),
            ToolCallReply("record_variables", '{"day": "Friday"}'),
            TextReply("See you on Friday."),
        ),
    )
    panel = await Panel.open(caller, await imported(caller, model.string))
    await panel.send("I need a visit.")
    await panel.send("On Friday.")
    assert (panel.shown["state"], panel.shown["is_completed"], panel.revision) == ("completed", True, 6)
    assert panel.said[-1] == ("On Friday.", "See you on Friday.")
    assert panel.shown["gathered_context"] == {
        "day": "Friday",
        "nodes_visited": ["Reception", "Book a visit", "Goodbye"],
        "extracted_variables": {"day": "Friday"},
        "call_status": "user_qualified",
        "call_disposition": "user_qualified",
        "mapped_call_disposition": "user_qualified",
        "call_tags": ["user_qualified"],
    }
    last = panel.turns[-1]
    assert last["events"][-1]["payload"] == {"reason": "user_qualified"}
    assert last["checkpoint_after_turn"]["gathered_context"] == {"day": "Friday"}
    assert (await panel.run())["usage_info"]["llm"] == {
        f"openai:{model.name}": {
            "prompt_tokens": 11 * 5,
            "completion_tokens": 7 * 5,
            "total_tokens": 18 * 5,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        }
    }


def same_as(expected: Json, answer: Json | None) -> None:
    """Fail, showing both, if a response differs from the expected one."""
    assert answer is not None
    assert plain(answer) == expected
