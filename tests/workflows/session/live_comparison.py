"""Where a live session and the sheet of paper differ, told turn by turn."""

from collections.abc import Iterable

from activities.llm.messages import OPENING_CUE
from domain.sessions.views import TimelineView
from domain.turns.turn import Turn
from tests.support.agents import GREETING
from tests.support.provider import Asked
from tests.workflows.session.live_model import Sheet


def differences(view: TimelineView, sheet: Sheet) -> list[str]:
    """Everything in which what is seen of a session is not what the sheet says."""
    head = view.head
    found = {
        "revision": (head.revision, sheet.revision),
        "status": (head.status, sheet.status),
        "reason": (head.completion_reason, sheet.ended),
        "seen": ([turn.id for turn in view.turns], sheet.seen),
        "future": ([turn.id for turn in view.future], sheet.future),
        "branches": (
            [(each.rewound_from_turn_id, [turn.id for turn in each.turns]) for each in view.discarded_branches],
            list(sheet.branches()),
        ),
    }
    wrong = [f"{name}: {live} is live, {paper} on paper" for name, (live, paper) in found.items() if live != paper]
    shown = [*view.turns, *view.future, *(turn for each in view.discarded_branches for turn in each.turns)]
    return wrong or [told for turn in shown if (told := difference(turn, sheet))]


def difference(turn: Turn, sheet: Sheet) -> str | None:
    """What is wrong with a turn, if anything is."""
    entry = sheet.entries[turn.id]
    said = turn.user_message.text if turn.user_message else None
    reply = turn.assistant_message.text if turn.assistant_message else None
    if (said, turn.status, turn.parent_id) != (entry.text, entry.status, entry.parent):
        return f"{turn.id}: {said!r} is {turn.status} after {turn.parent_id} live, on paper {entry}"
    if not is_reply(reply, entry.text, entry.status):
        return f"{turn.id}: the reply to {said!r}, which is {turn.status}, is {reply!r}"
    return None


def reply_of(text: str) -> str:
    """What the model of the live machine says to a text, however often it is asked."""
    return f"You said: {text}"


def is_reply(reply: str | None, text: str | None, status: str) -> bool:
    """Whether this may be the reply to a text: whole when it was completed, its beginning before."""
    whole = GREETING if text is None else reply_of(text)
    if status == "completed":
        return reply == whole
    return reply is None or (status != "failed" and whole.startswith(reply))


def require_contexts(journal: Iterable[Asked], sheet: Sheet) -> None:
    """The provider is the witness: a model was never told of another branch, nor twice of the same."""
    above = {
        entry.text: [sheet.entries[each].text for each in sheet.path(entry.id)] for entry in sheet.entries.values()
    }
    for asked in journal:
        told = [text for role, text in asked.conversation if role == "user" and text != OPENING_CUE]
        assert len(set(told)) == len(told)
        assert set(told) <= set(above[told[-1]])
