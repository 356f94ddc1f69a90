"""Texts of the chat as lines with a tone: header, turns, branches, usage and bill."""

from collections.abc import Iterable, Iterator

from domain.turns.turn import Turn
from domain.usage import DURATION_CHARGE, Cost
from playhead.chat.commands import HELP
from playhead.chat.session_view import ChatAgent, ChatBranch, ChatSession, number_of
from playhead.demo_model import DEMO_MODEL
from playhead.output.events import REASONS, Line, money
from playhead.output.plain_text import printable

DEMO_NOTICE = "Replies come from the offline demo model: scripted words, no AI."
MAX_LIST_CHARACTERS = 64
"""Upper bound on the characters of a message in lists of turns."""


def is_demo(agent: ChatAgent, session: ChatSession) -> bool:
    """True if the session is known to use the offline demo model."""
    return (session.model or agent.model) == DEMO_MODEL or session.used_demo_model


def header(agent: ChatAgent, session: ChatSession) -> list[Line]:
    """The agent, the session and the model."""
    demo = is_demo(agent, session)
    model = "offline demo model" if demo else session.model or agent.model or "the server's default"
    lines = [
        Line(printable(f"{agent.name}, version {agent.version}"), "strong"),
        Line(printable(f"session {session.id}, model: {model}"), "dim"),
    ]
    if demo:
        lines.append(Line(DEMO_NOTICE, "strong"))
    return [*lines, Line("/help lists the commands.", "dim"), Line("")]


def turn_list(turns: Iterable[Turn]) -> Iterator[Line]:
    """Turns as a list: number, the beginning of both messages, node and status."""
    for turn in turns:
        said = turn.user_message.text if turn.user_message else "(greeting)"
        answer = turn.assistant_message.text if turn.assistant_message else ""
        status = turn.status if turn.status != "completed" else ""
        about = ", ".join(part for part in (turn.node_id or "", status) if part)
        yield Line(f"{number_of(turn):>4}  {shortened(said)}", "plain")
        if answer or about:
            yield Line(f"      {shortened(answer)}{f' [{printable(about)}]' if about else ''}".rstrip(), "dim")


def timeline(session: ChatSession) -> list[Line]:
    """The turns of the visible branch."""
    lines = []
    if session.turns and session.turns[0].index > 0:
        earlier = session.turns[0].index
        some = "1 earlier turn is" if earlier == 1 else f"{earlier} earlier turns are"
        lines.append(Line(f"({some} not listed here)", "dim"))
    lines += turn_list(session.turns)
    if not session.turns:
        lines.append(Line("There are no turns yet.", "dim"))
    if session.is_rewound:
        lines.append(Line("The next message starts a new branch here; /rewind clear undoes the rewind.", "dim"))
    return lines


def branches(session: ChatSession) -> list[Line]:
    """The discarded branches."""
    if not session.discarded_branches:
        return [Line("There are no discarded branches. A message after /rewind discards the later turns.", "dim")]
    return [line for branch in session.discarded_branches for line in _branch(branch)]


def _branch(branch: ChatBranch) -> Iterator[Line]:
    place = f"after turn {branch.turns[0].index}" if branch.turns and branch.turns[0].index else "from the start"
    count = f"{len(branch.turns)} turn{'' if len(branch.turns) == 1 else 's'}"
    yield Line(f"{branch.id}: {count} {place}, discarded at {branch.discarded_at:%H:%M:%S} UTC", "strong")
    yield from turn_list(branch.turns)


def rewound(session: ChatSession) -> list[Line]:
    """The position of the session after a rewind, and how to undo it."""
    if not session.is_rewound:
        return [Line("Back at the end of the conversation.", "dim")]
    newest = session.newest
    place = f"turn {number_of(newest)}" if newest else "before the first turn"
    return [
        Line(f"Rewound to {place}. The next message starts a new branch there; /rewind clear undoes this.", "strong"),
        *(turn_list([newest]) if newest else ()),
    ]


def node(session: ChatSession) -> list[Line]:
    """The session's current node in the agent's graph."""
    return [Line(printable(f"Current node: {session.current_node_id or 'none yet'}"))]


def usage(session: ChatSession) -> list[Line]:
    """Tokens and cost by model, and the charge for model seconds. Models without a known price are listed."""
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
        return [Line("No model was called yet; the cost is zero.", "dim")]
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
    return [Line(f"  The price of {names} is not known; its cost is not in the total.", "dim")]


def ended(session: ChatSession) -> list[Line]:
    """The reason for the session's end, and its total cost, including discarded branches."""
    reason = session.completion_reason or "no reason was given"
    return [
        Line(""),
        Line(printable(f"The session has ended: {REASONS.get(reason, reason)}."), "strong"),
        *usage(session),
    ]


def left(session_id: str) -> list[Line]:
    """The command that continues a session."""
    return [Line(f"The session stays alive. Come back with: playhead chat --session {session_id}", "dim")]


def help_lines() -> list[Line]:
    """Every command, and Ctrl-C."""
    width = max(len(command) for command in HELP)
    lines = [Line(f"  {command.ljust(width)}  {means}") for command, means in HELP.items()]
    return [
        *lines,
        Line("  Anything else is sent to the agent. Ctrl-C stops the reply.", "dim"),
    ]


def shortened(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(printable(text).split())
    return line if len(line) <= MAX_LIST_CHARACTERS else f"{line[: MAX_LIST_CHARACTERS - 1]}…"
