"""The summary of a session in the Temporal UI: the end of the conversation as Markdown."""

from itertools import islice

from domain.sessions.timeline import Timeline
from domain.usage import Cost

TAIL_TURNS = 8
"""Turns shown, newest last."""
MAX_LINE = 400
"""Characters of one message that are shown."""


def conversation_tail(timeline: Timeline) -> str:
    """The newest visible turns as Markdown, with the session's status and what was spent."""
    lines = [
        f"**{timeline.status}** at revision {timeline.revision}, "
        f"{timeline.usage.total_tokens} tokens, {_spent(timeline.cost)}"
    ]
    newest_first = list(islice(timeline.visible_turns(), TAIL_TURNS))
    for turn in reversed(newest_first):
        if turn.user_message:
            lines.append(f"- **User:** {_shortened(turn.user_message.text)}")
        if turn.assistant_message:
            lines.append(f"- **Agent:** {_shortened(turn.assistant_message.text)}")
        elif turn.status != "completed":
            lines.append(f"- *{turn.status}*{f': {_shortened(turn.error)}' if turn.error else ''}")
    return "\n".join(lines)


def _spent(cost: Cost) -> str:
    spent = f"{cost.total.normalize():f} USD"
    return f"{spent} without {', '.join(cost.unpriced_models)} (price unknown)" if cost.unpriced_models else spent


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"
