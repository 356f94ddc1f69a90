"""The current details of a session in the Temporal UI: the end of the conversation as Markdown."""

import re
from itertools import islice

from domain.sessions.timeline import Timeline, WaitingApproval
from domain.usage import Cost

TAIL_TURNS = 8
"""Turns shown, newest last."""
MAX_LINE = 400
"""Characters of one message that are shown."""
MARKUP = re.compile(r"([\\`*_{}\[\]()<>#|~!])")
"""Characters that Markdown or HTML may take for more than text."""


def session_details(name: str, agent: str, timeline: Timeline) -> str:
    """The name of a session with its agent, and the tail of its conversation.

    The name stands here because Temporal keeps the summary that a workflow was started with for its first run only.
    """
    return f"**{_escaped(name)}** with {_escaped(agent)}\n\n{conversation_tail(timeline)}"


def conversation_tail(timeline: Timeline) -> str:
    """The newest visible turns as Markdown, with the session's status, tokens and cost."""
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
    lines.extend(_waiting(approval) for approval in timeline.approvals)
    return "\n".join(lines)


def _waiting(approval: WaitingApproval) -> str:
    reason = f": {_shortened(approval.reason)}" if approval.reason else ""
    until = f"{approval.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"- *waits until {until} for approval of* `{approval.tool}` (`{approval.call_id}`){reason}"


def _spent(cost: Cost) -> str:
    spent = f"{cost.total.normalize():f} USD"
    return f"{spent} without {', '.join(cost.unpriced_models)} (price unknown)" if cost.unpriced_models else spent


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return _escaped(line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…")


def _escaped(text: str) -> str:
    """A text with Markdown's special characters escaped."""
    return MARKUP.sub(r"\\\1", text)
