"""Model calls that an operator completes, pauses or resets: none is paid for twice, and the conversation is whole."""

import json

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from tests.e2e.processes import until_seen
from tests.operators.operator_stack import TABLE, OperatedStack, texts
from tests.operators.witnesses import answer_to
from tests.support.provider import Gate, TextReply, ToolCallReply


def test_a_reply_that_an_operator_wrote_is_part_of_the_conversation(operated: OperatedStack) -> None:
    session_id = operated.create()
    model = operated.model_of(session_id)
    operated.loop.call(operated.provider.hold)
    with operated.saying(session_id, TABLE) as saying:
        reply = json.dumps({"reply": {"text": "Written by hand."}})
        operated.activity("complete", session_id, "generate_step", "--result", reply)
        answered = saying.result()
    until_seen(lambda: operated.provider.waiting == 0, lambda: "the worker still waits for the provider")
    operated.loop.call(operated.provider.release)
    assert answered["turns"][-1]["assistant_message"]["text"] == "Written by hand."
    operated.say(session_id, "On Friday")
    assert ("assistant", "Written by hand.") in model.journal[-1].conversation
    assert texts(operated.compare(session_id, by_hand=["Written by hand."])) == [None, TABLE, "On Friday"]


@pytest.mark.parametrize("command", ["pause", "reset"])
def test_a_reply_received_while_its_step_is_paused_or_reset_is_not_paid_for_twice(
    operated: OperatedStack, command: str
) -> None:
    """The time in the prompt is that of the turn, not of the attempt."""
    session_id = operated.create(nodes={"talk": {"prompt": "It is {{current_time}}. Answer."}})
    model, gate = operated.model_of(session_id), Gate()
    model.script(TextReply(answer_to(TABLE), gate=gate))
    with operated.saying(session_id, TABLE) as saying:
        operated.loop.run(gate.reached())
        operated.activity(command, session_id, "generate_step")
        heartbeats: set[str | None] = set()

        def worker_knows() -> bool:
            heartbeats.add(operated.pending_activity(session_id, "generate_step").get("lastHeartbeatTime"))
            return len(heartbeats) > 2

        until_seen(worker_knows, lambda: f"the worker sent no heartbeats: {heartbeats}")
        operated.loop.call(gate.open)
        answered = saying.result()
    assert answered["turns"][-1]["assistant_message"]["text"] == answer_to(TABLE)
    assert not model.journal[-1].is_hung_up
    assert len(model.journal) == 2
    operated.compare(session_id)


def test_a_reply_that_is_generated_again_has_its_own_ledger_row(operated: OperatedStack, service: HTTPServer) -> None:
    counts = iter(range(100))
    service.expect_request("/count").respond_with_handler(lambda _: Response(str(next(counts))))
    session_id = operated.create(
        nodes={"talk": {"prompt": "Answer.", "tools": ["count"]}},
        tools={"count": {"kind": "http", "description": "Counts.", "method": "GET", "url": service.url_for("/count")}},
    )
    model = operated.model_of(session_id)
    model.script(ToolCallReply("count"))
    before = operated.say(session_id, "How many?")
    operated.until_agreed(session_id, 3)
    operated.reset(session_id, "-t", "FirstWorkflowTask")
    until_seen(lambda: len(model.journal) == 4, lambda: f"{[asked.conversation for asked in model.journal]}")
    after = operated.compare(session_id)
    assert texts(after) == texts(before)
    rows = [row for row in operated.ledger(session_id) if row["turn_id"] == after["turns"][-1]["id"]]
    assert len(rows) == 2
    assert len({row["id"] for row in rows}) == 2


def test_a_reply_to_different_instructions_is_generated_anew(operated: OperatedStack, service: HTTPServer) -> None:
    """A turn that is answered again may send the model another value that was fetched before the greeting."""
    names = iter(["Ann", "Bob"])
    service.expect_request("/caller").respond_with_handler(lambda _: Response(json.dumps({"caller": next(names)})))
    session_id = operated.create(
        nodes={"talk": {"prompt": "You talk to {{caller}}. Answer."}},
        tools={"look_up": {"kind": "http", "description": "d", "method": "GET", "url": service.url_for("/caller")}},
        pre_call_fetch="look_up",
    )
    model = operated.model_of(session_id)
    operated.say(session_id, TABLE)
    operated.until_agreed(session_id, 2)
    operated.reset(session_id, "-t", "FirstWorkflowTask")
    until_seen(lambda: len(model.journal) == 4, lambda: f"{[asked.conversation for asked in model.journal]}")
    names_sent = [name for asked in model.journal for name in ("Ann", "Bob") if f"talk to {name}." in str(asked.body)]
    assert names_sent == ["Ann", "Ann", "Bob", "Bob"]
    operated.compare(session_id)
