"""Output of the demo: plain lines for terminals and build logs."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from domain.turns.turn import Turn
from playhead.output.console import PlainConsole
from playhead.output.events import money
from playhead.output.plain_text import printable

if TYPE_CHECKING:
    from playhead.chat.session_view import ChatSession
    from playhead.demo.audit import Evidence, Spending, Totals

PIPED_COLUMNS = 110
MAX_TREE_CHARACTERS = 98
MAX_USER_CHARACTERS = 36
"""Upper bounds on the characters of a turn in the tree, and of the user's message in it."""

INTRODUCTION = """\
[bold]Playhead demo[/]: one conversation over HTTP with the booking agent of a restaurant.
Its worker is killed with SIGKILL in the middle of a reply, and the reply still arrives; a message is sent twice and \
answered once; the conversation is rewound and takes another branch; then you see the tree of turns and the bill. \
At the end Temporal's history, the store and the ledger are compared, turn by turn."""
OFFLINE_NOTICE = """\
[yellow]The OFFLINE DEMO MODEL answers: a script, no AI. Its replies begin with \
"\\[demo model]".[/] Set OPENAI_API_KEY or PLAYHEAD_MODEL to talk to a real model."""
NOTIONAL_PRICES = """\
[yellow]The prices are notional:[/] the offline demo model is free; the prices are those of a small real model."""

INTERRUPTED_CALL = """\
The model call that the kill interrupted is not in the bill, since its reply never arrived; the provider may still \
charge for it."""


class Screen:
    """Standard output, with a line for each stage of the demo."""

    def __init__(self) -> None:
        piped = not sys.stdout.isatty()
        self._console = PlainConsole(width=PIPED_COLUMNS if piped else None, highlight=False)
        self._stages = 0

    def introduce(self, model: str, *, is_demo_model: bool) -> None:
        """Describe the demo and the model."""
        self._console.print(INTRODUCTION)
        real_model = f"The agent uses {escape(model)}: about a dozen short model calls that cost real money."
        self._console.print(OFFLINE_NOTICE if is_demo_model else real_model)

    def stage(self, title: str) -> None:
        """Begin a stage."""
        self._stages += 1
        self._console.print(f"\n[bold cyan]{self._stages}. {escape(title)}[/]")

    def person(self, text: str) -> None:
        """Show a message of the user."""
        self._said("you  ", "bold", text)

    def agent(self, turn: Turn, seconds: float | None = None) -> None:
        """Show a reply of the agent, and its duration."""
        text = turn.assistant_message.text if turn.assistant_message else f"({turn.status})"
        self._said("agent", "bold green", text)
        self.note(f"       {turn.node_id or ''}{f', {seconds:.1f} s' if seconds is not None else ''}")

    def note(self, text: str) -> None:
        """Show a note."""
        self._console.print(f"[dim]{escape(printable(text))}[/]")

    def event(self, text: str) -> None:
        """Show an important event."""
        self._console.print(f"[bold yellow]  * {escape(printable(text))}[/]")

    def tree(self, session: "ChatSession") -> None:
        """Show every turn as a tree, with discarded branches to the right."""
        discarded = {turn.id for branch in session.discarded_branches for turn in branch.turns}
        turns = [*session.turns, *(turn for branch in session.discarded_branches for turn in branch.turns)]
        for line in tree_lines(turns, discarded):
            self._console.print(line, overflow="ellipsis", no_wrap=True)

    def bill(self, totals: "Totals", *, is_demo_model: bool) -> None:
        """Show usage and cost by model."""
        self._table(
            ("model", "requests", "input tokens", "output tokens", "cost"),
            _bill_rows(totals.spent),
        )
        if totals.spent.cost.unpriced_models:
            self._console.print("The price of a model is not known; its cost is [bold]not[/] in the total.")
        self._console.print(NOTIONAL_PRICES if is_demo_model else INTERRUPTED_CALL)

    def accounts(self, evidence: "Evidence") -> None:
        """Show the totals of each record in a table."""
        from playhead.demo.audit import total_of

        def row(name: str, turns: int, calls: object, spent: "Spending | None") -> tuple[str, ...]:
            amounts = (f"{spent.usage.total_tokens:,}", money(spent.cost.total)) if spent else ("", "")
            return (name, str(turns), str(calls), *amounts)

        history, store, totals = evidence.history, evidence.store, evidence.totals
        billed = total_of(entry.spent for entry in evidence.ledger)
        self._table(
            ("record", "turns", "model calls", "tokens", "cost"),
            [
                row("answered over HTTP", len(evidence.answered), "", None),
                row("Temporal's history", len(history.opened), len(history.steps), total_of(history.steps.values())),
                row("settled, by Temporal's history", len(history.settled), "", None),
                row("the store's tables", len(store.turns), len(store.steps), total_of(store.steps.values())),
                row("the ledger's rows", len(evidence.ledger), billed.usage.requests, billed),
                row("totals of the organization", totals.turns, totals.spent.usage.requests, totals.spent),
            ],
        )
        self.note(f"Model calls that needed more than one attempt, by Temporal's history: {history.retried}.")

    def plain(self, text: str) -> None:
        """Show a line without wrapping it, for programs that read the last line."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def _said(self, who: str, style: str, text: str) -> None:
        self._console.print(f"[{style}]{who}[/]  {escape(' '.join(printable(text).split()))}")

    def _table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        shown = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for at, column in enumerate(columns):
            shown.add_column(column, justify="right" if at else "left")
        for row in rows:
            shown.add_row(*map(escape, row))
        self._console.print(Padding(shown, (0, 2), expand=False))


def tree_lines(turns: Iterable[Turn], discarded: set[str]) -> list[str]:
    """Turns as lines of markup: a branch continues straight down, with discarded branches beside it."""
    children: dict[str | None, list[Turn]] = {}
    for turn in sorted(turns, key=lambda turn: turn.created_at):
        children.setdefault(turn.parent_id, []).append(turn)
    lines: list[str] = []

    def grow(parent_id: str | None, indent: str) -> None:
        at: str | None = parent_id
        while at in children:
            going_on, *beside = sorted(children[at], key=lambda turn: turn.id in discarded)
            for turn in beside:
                lines.append(f"  {indent}[dim]├─╮ discarded[/]")
                lines.append(_tree_line(turn, f"{indent}│ ", is_discarded=True))
                grow(turn.id, f"{indent}│ ")
            lines.append(_tree_line(going_on, indent, is_discarded=going_on.id in discarded))
            at = going_on.id

    grow(None, "")
    return lines


def _tree_line(turn: Turn, indent: str, *, is_discarded: bool) -> str:
    person = f"{_shortened(turn.user_message.text, MAX_USER_CHARACTERS)} ->" if turn.user_message else "(greeting)"
    agent = turn.assistant_message.text if turn.assistant_message else turn.status
    words = f"{person} {_shortened(agent, MAX_TREE_CHARACTERS - len(indent) - len(person))}"
    sign, style = ("○", "dim") if is_discarded else ("●", "default")
    return f"  [dim]{indent}[/][{style}]{sign} {turn.index} {escape(words)}[/]"


def _shortened(text: str, room: int) -> str:
    words = " ".join(printable(text).split())
    return words if len(words) <= room else f"{words[: room - 1]}…"


def _bill_rows(spent: "Spending") -> Iterator[tuple[str, ...]]:
    for model, used in sorted(spent.usage.llm.items()):
        price = spent.cost.breakdown.get(model)
        cost = "no price" if price is None else money(price)
        yield printable(model), str(used.requests), f"{used.prompt_tokens:,}", f"{used.completion_tokens:,}", cost
    sums = spent.usage.llm.values()
    yield (
        "total",
        str(spent.usage.requests),
        f"{sum(used.prompt_tokens for used in sums):,}",
        f"{sum(used.completion_tokens for used in sums):,}",
        money(spent.cost.total),
    )
