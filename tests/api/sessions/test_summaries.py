"""Summaries over HTTP: what a step shows of them, their row in the ledger, and the forks that take them along."""

from collections.abc import Callable

from tests.support.api_agents import library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, done
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

WORDS = "word " * 60


async def summarised(caller: Caller, scripted: Scripted) -> tuple[ScriptedModel, Json]:
    """A conversation whose newest request has a summary in it."""
    model, writer = scripted(), scripted(*[TextReply("They have counted.")] * 20)
    model.window = 100_000
    compaction = {"model": writer.string}
    await caller.push({**library(model.string), "max_context_tokens": 1_000, "compaction": compaction})
    session = await caller.open("library")
    for number in range(1, 30):
        session = await caller.say(session["id"], f"{number} {WORDS}")
        if "They have counted." in model.journal[-1].instructions:
            break
    return model, session


async def test_a_step_shows_the_summary_that_was_sent(caller: Caller, scripted: Scripted) -> None:
    model, session = await summarised(caller, scripted)
    turn = session["turns"][-1]
    (step,) = await caller.items(f"/v1/sessions/{session['id']}/turns/{turn['id']}/steps")
    assert step["fidelity"] == "exact"
    assert step["request"]["instructions"] == model.journal[-1].instructions
    context = step["request"]["context"]
    covered = [each["id"] for each in session["turns"]].index(context["summary_turn_id"])
    assert covered == len(session["turns"]) - 2 - context["turns"], "what is not in the summary is sent whole"
    assert context["turns_left_out"] == covered, "the greeting is no turn that the model answered"

    async def billed() -> list[Json]:
        rows = await caller.items("/v1/usage/ledger", session=session["id"])
        return [row for row in rows if row["purpose"] == "summary"]

    (row, *_) = await eventually(billed)
    assert row["usage"]["llm"]


async def test_a_fork_goes_on_with_the_summary_and_pays_nothing_for_it(caller: Caller, scripted: Scripted) -> None:
    model, session = await summarised(caller, scripted)
    turn = session["turns"][-1]
    fork = done(await caller.post(f"/v1/sessions/{session['id']}/fork", {"turn_id": turn["id"]}), 201)
    await caller.say(fork["id"], "99 words, shortly.")
    assert "They have counted." in model.journal[-1].instructions
    rows = await caller.recorded(fork["id"], turns=1)
    assert [row["purpose"] for row in rows] == ["turn"]
