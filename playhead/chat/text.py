"""What the chat says, as plain lines with a tone: the header, turns, branches, usage and the bill."""

from collections.abc import Iterable, Iterator

from domain.turns.turn import Turn
from domain.usage import DURATION_CHARGE, Cost
from playhead.chat.commands import HELP
from playhead.chat.session_view import ChatAgent, ChatBranch, ChatSession, number_of
from playhead.demo_model import DEMO_MODEL
from playhead.output.events import REASONS, Line, money, printable

DEMO_NOTICE = "Replies come from the offline demo model: scripted words, no AI."
MAX_IN_LIST = 64
"""Characters of a message that lists of turns show."""


def is_demo(agent: ChatAgent, session: ChatSession) -> bool:
    """Whether the offline demo model is known to answer here."""
    return (session.model or agent.model) == DEMO_MODEL or session.used_demo_model


def header(agent: ChatAgent, session: ChatSession) -> list[Line]:
    """Who is talking, and with what model."""
    demo = is_demo(agent, session)
    told = "offline demo model" if demo else session.model or agent.model or "the server's default"
    lines = [
        Line(printable(f"{agent.name}, version {agent.version}"), "strong"),
        Line(printable(f"session {session.id}, model: {told}"), "dim"),
    ]
    if demo:
        lines.append(Line(DEMO_NOTICE, "strong"))
    return [*lines, Line("/help lists the commands.", "dim"), Line("")]


def numbered(turns: Iterable[Turn]) -> Iterator[Line]:
    """Turns as a list: number, node, status, and the beginning of what was said."""
    for turn in turns:
        said = turn.user_message.text if turn.user_message else "(greeting)"
        answer = turn.assistant_message.text if turn.assistant_message else ""
        status = turn.status if turn.status != "completed" else ""
        about = ", ".join(part for part in (turn.node_id or "", status) if part)
        yield Line(f"{number_of(turn):>4}  {brief(said)}", "plain")
        if answer or about:
            yield Line(f"      {brief(answer)}{f' [{printable(about)}]' if about else ''}".rstrip(), "dim")


def timeline(session: ChatSession) -> list[Line]:
    """The visible branch with its numbers."""
    lines = []
    if session.turns and session.turns[0].index > 0:
        earlier = session.turns[0].index
        some = "1 earlier turn is" if earlier == 1 else f"{earlier} earlier turns are"
        lines.append(Line(f"({some} not listed here)", "dim"))
    lines += numbered(session.turns)
    if not session.turns:
        lines.append(Line("Nothing has been said yet.", "dim"))
    if session.is_rewound:
        lines.append(
            Line("The next message begins a new branch here; /rewind clear goes back to where you were.", "dim")
        )
    return lines


def branches(session: ChatSession) -> list[Line]:
    """What rewinding gave up."""
    if not session.discarded_branches:
        return [
            Line("No branch was given up: /rewind goes back to a turn, the next message leaves the old path.", "dim")
        ]
    return [line for branch in session.discarded_branches for line in _branch(branch)]


def _branch(branch: ChatBranch) -> Iterator[Line]:
    place = f"after turn {branch.turns[0].index}" if branch.turns and branch.turns[0].index else "from the start"
    count = f"{len(branch.turns)} turn{'' if len(branch.turns) == 1 else 's'}"
    yield Line(f"{branch.id}: {count} {place}, given up at {branch.discarded_at:%H:%M:%S} UTC", "strong")
    yield from numbered(branch.turns)


def rewound(session: ChatSession) -> list[Line]:
    """Where the session stands after a rewind, and how to undo it."""
    if not session.is_rewound:
        return [Line("Back at the end of the conversation.", "dim")]
    newest = session.newest
    place = f"turn {number_of(newest)}" if newest else "before the first turn"
    return [
        Line(f"Rewound to {place}. The next message begins a new branch there; /rewind clear undoes this.", "strong"),
        *(numbered([newest]) if newest else ()),
    ]


def node(session: ChatSession) -> list[Line]:
    """Where in the agent's graph the conversation is."""
    return [Line(printable(f"The conversation is at: {session.current_node_id or 'no node yet'}"))]


def usage(session: ChatSession) -> list[Line]:
    """Tokens and cost, model by model, and what seconds cost; a model without a known price is named, not free."""
    rows = [("model", "requests", "input", "output", "cost")]
    for model, used in sorted(session.usage.llm.items()):
        price = session.cost.breakdown.get(model)
        cost = "no price" if price is None else money(price)
        tokens = (str(used.requests), f"{used.prompt_tokens:,}", f"{used.completion_tokens:,}")
        rows.append((printable(model), *tokens, cost))
    charged = session.cost.breakdown.get(DURATION_CHARGE)
    if charged is not None:
        rows.append((f"{session.usage.model_seconds:g} s of the model", "", "", "", money(charged)))
    if len(rows) == 1:
        return [Line("No model was called yet; nothing was spent.", "dim")]
    total = (f"{session.usage.total_tokens:,} tokens", str(session.usage.requests), "", "", money(session.cost.total))
    return [*_table([*rows, total]), *_unpriced(session.cost)]


def _table(rows: list[tuple[str, ...]]) -> Iterator[Line]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for at, row in enumerate(rows):
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        text = "  ".join([row[0].ljust(len(first)), *others])
        yield Line(f"  {text}", "dim" if at == 0 else "strong" if at == len(rows) - 1 else "plain")


def _unpriced(cost: Cost) -> list[Line]:
    if not cost.unpriced_models:
        return []
    names = printable(", ".join(cost.unpriced_models))
    return [Line(f"  The price of {names} is not known: what it cost is not in the total.", "dim")]


def ended(session: ChatSession) -> list[Line]:
    """Why the session is over, and what it cost in all: every branch counts, also those given up."""
    reason = session.completion_reason or "no reason was given"
    return [
        Line(""),
        Line(printable(f"The session has ended: {REASONS.get(reason, reason)}."), "strong"),
        *usage(session),
    ]


def left(session_id: str) -> list[Line]:
    """How to come back to a session that stays alive."""
    return [Line(f"The session stays alive. Come back with: playhead chat --session {session_id}", "dim")]


def help_lines() -> list[Line]:
    """Every command, and the keys that matter."""
    width = max(len(command) for command in HELP)
    lines = [Line(f"  {command.ljust(width)}  {means}") for command, means in HELP.items()]
    return [
        *lines,
        Line("  Anything else is said to the agent. Ctrl-C stops the reply.", "dim"),
    ]


def brief(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(printable(text).split())
    return line if len(line) <= MAX_IN_LIST else f"{line[: MAX_IN_LIST - 1]}…"
