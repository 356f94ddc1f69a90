"""The differences between a live session and its reference model, turn by turn."""

from collections.abc import Iterable

from domain.sessions.views import TimelineView
from domain.turns.model_request import OPENING_CUE
from domain.turns.turn import Turn
from tests.support.agents import GREETING
from tests.support.provider import ProviderRequest
from tests.workflows.session.live_timeline import LiveTimeline


def differences(view: TimelineView, model: LiveTimeline) -> list[str]:
    """All differences between the view of a session and the model."""
    head = view.head
    found = {
        "revision": (head.revision, model.revision),
        "status": (head.status, model.status),
        "reason": (head.completion_reason, model.reason),
        "seen": ([turn.id for turn in view.turns], model.visible),
        "future": ([turn.id for turn in view.future], model.future),
        "branches": (
            [(each.rewound_from_turn_id, [turn.id for turn in each.turns]) for each in view.discarded_branches],
            model.discarded,
        ),
    }
    wrong = [
        f"{name}: {live} is live, {expected} expected" for name, (live, expected) in found.items() if live != expected
    ]
    return wrong or [unlike for turn in view.all_turns if (unlike := difference(turn, model))]


def difference(turn: Turn, model: LiveTimeline) -> str | None:
    """The difference of a turn from the model, or None."""
    expected, parent_id = model.turns[turn.id], model.parent_of(turn.id)
    said = turn.user_message.text if turn.user_message else None
    reply = turn.assistant_message.text if turn.assistant_message else None
    if (said, turn.status, turn.parent_id) != (expected.text, expected.status, parent_id):
        return (
            f"{turn.id}: {said!r} is {turn.status} after {turn.parent_id} live, expected {expected} after {parent_id}"
        )
    if not is_reply(reply, expected.text, expected.status):
        return f"{turn.id}: the reply to {said!r}, which is {turn.status}, is {reply!r}"
    return None


def reply_of(text: str) -> str:
    """The reply of the machine's model to a text; it is always the same."""
    return f"You said: {text}"


def is_reply(reply: str | None, text: str | None, status: str) -> bool:
    """True when this may be the reply to a text: the whole one when completed, otherwise its beginning."""
    whole = GREETING if text is None else reply_of(text)
    if status == "completed":
        return reply == whole
    return reply is None or (status != "failed" and whole.startswith(reply))


def require_contexts(journal: Iterable[ProviderRequest], model: LiveTimeline) -> None:
    """Check the journal of the provider: no request had messages of another branch, or one of them twice."""
    above = {
        turn.text: [model.turns[each].text for each in model.path_to(turn_id)] for turn_id, turn in model.turns.items()
    }
    for asked in journal:
        sent = [text for role, text in asked.conversation if role == "user" and text != OPENING_CUE]
        assert len(set(sent)) == len(sent)
        assert set(sent) <= set(above[sent[-1]])
