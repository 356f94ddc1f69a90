"""A conversation in which a new worker handles every command and query from the history alone."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pytest_httpserver import HTTPServer

from domain.dograh.run_log import realtime_feedback_events
from domain.sessions.views import TimelineView
from tests.support.booking_agent import journal_of, library_agent
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import SessionStack, reply_text, session_worker

Answer = TypeVar("Answer")


async def test_node_context_and_log_are_right_after_a_rewind_whichever_worker_answers(
    stack_without_worker: SessionStack, scripted: Callable[..., ScriptedModel], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/books").respond_with_json({"shelf": "B7"})
    model = scripted(
        *(
            ToolCallReply("to_loans", also=(ToolCallReply("find_book", '{"title": "Emma"}'),)),
            TextReply("Which title?"),
        ),
        *(
            ToolCallReply("checkout"),
            ToolCallReply("record_variables", '{"title": "Emma", "copies": 2}'),
            TextReply("Anything else?"),
        ),
        *(ToolCallReply("find_book", '{"title": "Persuasion"}'), TextReply("It is there.")),
    )
    session = await stack_without_worker.prepare(library_agent(httpserver.url_for("").rstrip("/")), model=model.string)

    async def by_another(ask: Callable[[], Awaitable[Answer]]) -> Answer:
        async with session_worker(stack_without_worker):
            answer = await ask()
            await session.until_settled()
            return answer

    await by_another(session.greet)
    first = await by_another(lambda: session.say("I want a book."))
    second = await by_another(lambda: session.say("Two copies of Emma."))
    assert (second.head.current_node_id, second.head.gathered_context) == (
        "exit",
        {"shelf": "B7", "title": "Emma", "copies": 2},
    )
    head = await by_another(lambda: session.rewind(first.turn.id))
    assert (head.current_node_id, head.gathered_context) == ("loans", {"shelf": "B7"})
    assert entered_in(await by_another(session.timeline)) == ["desk", "loans"]

    again = await by_another(lambda: session.say("Persuasion, rather."))
    assert reply_text(again.turn) == "It is there."
    assert (again.head.current_node_id, again.head.gathered_context) == ("loans", {"shelf": "B7"})
    view = await by_another(session.timeline)
    assert entered_in(view) == ["desk", "loans"]
    assert [len(branch.turns) for branch in view.discarded_branches] == [1]
    entries = await by_another(lambda: session.billed(4))
    assert [entry.usage.requests for entry in entries] == [0, 2, 3, 2]
    assert len(model.journal) == 7
    assert len({call.key for call in journal_of(httpserver)}) == 2


def entered_in(view: TimelineView) -> list[str | None]:
    """The nodes that were entered, by the log of the visible branch."""
    log = realtime_feedback_events(view.turns)
    return [entry.node_id for entry in log if entry.type == "rtf-node-transition"]
