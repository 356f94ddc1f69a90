"""Output of commands: tables and conversations for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from playhead.output.console import PlainConsole
from playhead.output.plain_text import plain_json, unbroken

if TYPE_CHECKING:
    from playhead_client import (
        Agent,
        Branch,
        Comparison,
        ComparisonSide,
        Cost,
        Session,
        SessionSummary,
        Turn,
        TurnEvent,
    )

PIPED_WIDTH = 200
"""Line width without a terminal."""
STATUS_COLOURS = {
    "idle": "green",
    "pending_assistant_turn": "cyan",
    "rewound": "yellow",
    "error": "red",
    "completed": "dim",
    "pending": "cyan",
    "failed": "red",
    "interrupted": "yellow",
}


def console() -> PlainConsole:
    """Standard output: fitted to the terminal, or plain with unbroken lines if there is none."""
    piped = not sys.stdout.isatty()
    return PlainConsole(width=PIPED_WIDTH if piped else None, soft_wrap=piped, highlight=False)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    from pydantic_core import to_jsonable_python

    sys.stdout.write(plain_json(json.dumps(to_jsonable_python(value), indent=2, ensure_ascii=False)) + "\n")


def note(message: str) -> None:
    """Print a line for people on standard error."""
    sys.stderr.write(f"{message}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print a plain table, or `empty` on standard error if there are no rows."""
    shown = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*map(unbroken, row))
    if shown.row_count:
        console().print(shown)
    else:
        note(empty)


def agent_rows(agents: Iterable["Agent"]) -> Iterable[tuple[str, ...]]:
    """Agents as rows: name, version, id, nodes, time."""
    for agent in agents:
        nodes = str(len(agent.definition.nodes))
        yield in_line(agent.name), str(agent.version), agent.id, nodes, moment(agent.created_at)


def show_agent(agent: "Agent") -> None:
    """Print an agent: settings, nodes with transitions, warnings."""
    definition = agent.definition
    out = console()
    out.print(f"[bold]{in_line(agent.name)}[/] version {agent.version} ({agent.id})")
    out.print(f"model {in_line(definition.model or 'of the installation')}, starts at {in_line(definition.start)}")
    for name, node in definition.nodes.items():
        out.print(f"  {in_line(name)}{' [dim](ends the session)[/]' if node.end else ''}")
        for transition in node.transitions:
            to, when = in_line(transition.to), in_line(transition.when)
            out.print(f"    [dim]{in_line(transition.name)}:[/] {when} [dim]->[/] {to}")
    for warning in agent.warnings:
        out.print(f"[yellow]warning:[/] {in_line(warning)}")


def session_rows(sessions: Iterable["SessionSummary"]) -> Iterable[tuple[str, ...]]:
    """Sessions as rows: id, name, status, node, cost, time."""
    for session in sessions:
        yield (
            session.id,
            in_line(session.name),
            status(session.status),
            in_line(session.current_node_id),
            money(session.cost),
            moment(session.updated_at),
        )


def show_session(session: "Session") -> None:
    """Print a session: head, visible conversation, discarded branches, cost."""
    out = console()
    ended = f" ({in_line(session.completion_reason)})" if session.completion_reason else ""
    out.print(f"[bold]{in_line(session.name)}[/] {session.id}")
    out.print(
        f"{status(session.status)}{ended} at revision {session.revision}, "
        f"node {in_line(session.current_node_id)}, as of {moment(session.as_of)}"
    )
    if session.turns_before:
        out.print(f"[dim]{session.turns_before} older turns: playhead sessions export {session.id}[/]")
    for turn in session.turns:
        show_turn(turn, at_cursor=turn.id == session.cursor_turn_id)
    for branch in session.discarded_branches:
        after = branch.rewound_from_turn_id or "the beginning"
        out.print(f"[dim]discarded {moment(branch.discarded_at)}, {len(branch.turns)} turn(s) after {after}[/]")
    out.print(f"[dim]spent {money(session.cost)}[/]")
    link = session.temporal.ui_url
    if link:
        out.print(f"[dim]{escape(link)}[/]")


def branch_rows(branches: Iterable["Branch"]) -> Iterable[tuple[str, ...]]:
    """Discarded branches as rows: id, the turn before, length, first message, time."""
    for branch in branches:
        begins = next(map(_first_text, branch.turns), "")
        yield (
            branch.id,
            branch.rewound_from_turn_id or "the beginning",
            str(len(branch.turns)),
            escape(shortened(begins)),
            moment(branch.discarded_at),
        )


def show_comparison(compared: "Comparison") -> None:
    """Print two branches side by side, turn by turn from where they differ."""
    last = compared.last_common_turn
    out = console()
    out.print(f"{compared.common_turns} turn(s) in common" + (f", the last of them {last.id}" if last else ""))
    sides = (compared.a, compared.b)
    shown = Table(show_lines=True, header_style="bold", expand=sys.stdout.isatty())
    for side in sides:
        shown.add_column(in_line(side.branch), overflow="fold", ratio=1)
    for pair in zip_longest(*map(_side, sides), fillvalue=""):
        shown.add_row(*pair)
    if shown.row_count:
        out.print(shown)
    else:
        note("The branches are equal.")


def _side(side: "ComparisonSide") -> Iterable[str]:
    for turn in side.turns:
        messages = (("cyan", turn.user_message), ("green", turn.assistant_message))
        lines = [f"[{colour}]{escape(message.text)}[/]" for colour, message in messages if message]
        if turn.status != "completed":
            lines.append(status(turn.status))
        yield "\n".join(lines)
    if side.turns_after:
        yield f"[dim]and {side.turns_after} more turns[/]"


def in_line(text: str) -> str:
    """A name or a reason in markup, on one line: a break in it would look like a line of the command's own."""
    return escape(unbroken(text))


def shortened(text: str, longest: int = 60) -> str:
    """The beginning of a text, on one line."""
    line = unbroken(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def show_turn(turn: "Turn", *, at_cursor: bool = False) -> None:
    """Print a turn: messages, status, events."""
    out = console()
    labels = [] if turn.status == "completed" else [status(turn.status)]
    labels += ["[yellow]<- cursor[/]"] if at_cursor else []
    out.print(f"\n[dim]{turn.index + 1}. {turn.id} {in_line(turn.node_id or '')}[/] {' '.join(labels)}".rstrip())
    if turn.user_message:
        out.print(f"  [bold cyan]you[/]    {_indented(turn.user_message.text)}")
    if turn.assistant_message:
        out.print(f"  [bold green]agent[/]  {_indented(turn.assistant_message.text)}")
    if turn.error:
        out.print(f"  [red]error[/]  {in_line(turn.error)}")
    for event in turn.events:
        out.print(f"  [dim]{in_line(described(event))}[/]")


def described(event: "TurnEvent") -> str:
    """An event on one line: the transition, or the type with its payload."""
    if event.type == "node_transition":
        return f"{event.payload.get('from_node') or 'start'} -> {event.payload.get('to_node')}"
    fields = ", ".join(f"{name} {_plain(value)}" for name, value in event.payload.items())
    return f"{event.type.replace('_', ' ')}{f': {fields}' if fields else ''}"


def status(word: str) -> str:
    """Markup of a status in its colour."""
    return f"[{STATUS_COLOURS.get(word, 'default')}]{escape(word.replace('_', ' '))}[/]"


def money(cost: "Cost") -> str:
    """An amount, with the models that have no price."""
    amount = f"{cost.total.normalize():f} {cost.currency}"
    unpriced = cost.unpriced_models
    return f"{amount} (price of {', '.join(unpriced)} unknown)" if unpriced else amount


def moment(at: datetime) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _indented(text: str) -> str:
    """A message in markup; its further lines begin below its first word, so that none looks like another message."""
    return escape(text.replace("\n", f"\n{' ' * 9}"))


def _first_text(turn: "Turn") -> str:
    said = turn.user_message or turn.assistant_message
    return said.text if said else ""


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
