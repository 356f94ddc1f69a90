"""What the chat says, as plain lines with a tone: the header, turns, branches, usage and the bill."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import JsonValue

from domain.agent_rules import tool_name
from domain.turns import Turn
from domain.usage import DURATION, Cost
from playhead.chat_commands import HELP
from playhead.chat_session import DEMO_MODEL, Agent, Branch, Session, number_of

Tone = Literal["plain", "dim", "strong", "trouble"]

DEMO_NOTICE = "Replies come from the offline demo model: scripted words, no AI."
LONGEST_IN_LIST = 64
"""Characters of a message that lists of turns show."""
_WITHOUT_DIRECTIONS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""Unicode's overrides and isolates of writing direction, to be taken out."""

REASONS = {
    "end_node": "the agent said goodbye",
    "max_turns": "it reached the agent's limit of turns",
    "max_cost": "it reached the agent's limit of cost",
    "user_hangup": "it was ended by the user",
    "user_idle_max_duration_exceeded": "nobody said anything for as long as the agent allows",
}
"""Completion reasons in words; any other reason is shown as it was given."""


@dataclass(frozen=True)
class Line:
    """One line for a person. The tone is how it looks on a terminal; it never carries meaning of its own."""

    text: str
    tone: Tone = "plain"


def printable(text: str) -> str:
    """The text without characters that could move the cursor, recolour the terminal or turn the writing round."""
    kept = text.replace("\r\n", "\n").replace("\t", "    ").translate(_WITHOUT_DIRECTIONS)
    return "".join(character for character in kept if character == "\n" or unicodedata.category(character) != "Cc")


def is_demo(agent: Agent, session: Session) -> bool:
    """Whether the offline demo model is known to answer here."""
    return (session.model or agent.model) == DEMO_MODEL or session.used_demo_model


def header(agent: Agent, session: Session) -> list[Line]:
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


def happenings(turn: Turn) -> list[Line]:
    """What happened in a turn besides the words: one dim line each. A move is told, not the call it was made by."""
    taken = [event.payload.get("transition") for event in turn.events if event.type == "node_transition"]
    moves = {tool_name(name) for name in taken if isinstance(name, str)}
    told = (happening(event.type, event.payload) for event in turn.events if event.payload.get("name") not in moves)
    return [Line(printable(text), "dim") for text in told if text]


def happening(kind: str, payload: Mapping[str, JsonValue]) -> str | None:
    """An event of a turn in a few words; none for what the turn itself tells."""
    match kind:
        case "node_transition":
            return f"→ {payload.get('to_node')}"
        case "tool_call_started":
            return f"· calls {payload.get('name')}"
        case "tool_call_result" if payload.get("error"):
            return f"· {payload.get('name')} failed: {payload['error']}"
        case "variables_extracted":
            return _learned(payload)
        case "command_refused":
            return f"· refused: {payload.get('detail')}"
    return None


def _learned(payload: Mapping[str, JsonValue]) -> str | None:
    if payload.get("error"):
        return f"· could not note anything: {payload['error']}"
    learned = payload.get("variables")
    return f"· noted {', '.join(learned)}" if learned and isinstance(learned, dict) else None


def failure(turn: Turn) -> Line | None:
    """Why a turn has no (whole) answer, if it has none."""
    if turn.status == "failed":
        return Line(printable(f"This turn failed: {turn.error or 'the model could not answer'}"), "trouble")
    if turn.status == "interrupted":
        return Line("(interrupted)", "dim")
    if turn.status == "pending":
        return Line("(the reply is still being generated)", "dim")
    return None


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


def timeline(session: Session) -> list[Line]:
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


def branches(session: Session) -> list[Line]:
    """What rewinding gave up."""
    if not session.discarded_branches:
        return [
            Line("No branch was given up: /rewind goes back to a turn, the next message leaves the old path.", "dim")
        ]
    return [line for branch in session.discarded_branches for line in _branch(branch)]


def _branch(branch: Branch) -> Iterator[Line]:
    place = f"after turn {branch.turns[0].index}" if branch.turns and branch.turns[0].index else "from the start"
    count = f"{len(branch.turns)} turn{'' if len(branch.turns) == 1 else 's'}"
    yield Line(f"{branch.id}: {count} {place}, given up at {branch.discarded_at:%H:%M:%S} UTC", "strong")
    yield from numbered(branch.turns)


def rewound(session: Session) -> list[Line]:
    """Where the session stands after a rewind, and how to undo it."""
    if not session.is_rewound:
        return [Line("Back at the end of the conversation.", "dim")]
    newest = session.newest
    place = f"turn {number_of(newest)}" if newest else "before the first turn"
    return [
        Line(f"Rewound to {place}. The next message begins a new branch there; /rewind clear undoes this.", "strong"),
        *(numbered([newest]) if newest else ()),
    ]


def node(session: Session) -> list[Line]:
    """Where in the agent's graph the conversation is."""
    return [Line(printable(f"The conversation is at: {session.current_node_id or 'no node yet'}"))]


def usage(session: Session) -> list[Line]:
    """Tokens and cost, model by model, and what seconds cost; a model without a known price is named, not free."""
    rows = [("model", "requests", "input", "output", "cost")]
    for model, used in sorted(session.usage.llm.items()):
        price = session.cost.breakdown.get(model)
        cost = "no price" if price is None else money(price)
        tokens = (str(used.requests), f"{used.prompt_tokens:,}", f"{used.completion_tokens:,}")
        rows.append((printable(model), *tokens, cost))
    charged = session.cost.breakdown.get(DURATION)
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


def ended(session: Session) -> list[Line]:
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
    return line if len(line) <= LONGEST_IN_LIST else f"{line[: LONGEST_IN_LIST - 1]}…"


def money(amount: Decimal) -> str:
    """US dollars with as many digits as the amount needs, at least cents."""
    shown = f"{amount.normalize():f}"
    whole, _, cents = shown.partition(".")
    return f"${whole}.{cents.ljust(2, '0')}"
