"""What the demo shows: plain lines that read well in a terminal and in the log of a build."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from domain.turns.turn import Turn
from playhead.output.events import money, printable

if TYPE_CHECKING:
    from playhead.chat.session_view import ChatSession
    from playhead.demo.audit import Evidence, Spent, Totals

WIDEST = 110
SHOWN_IN_TREE = 98
SHOWN_OF_PERSON = 36
"""Characters of a turn that the tree shows, and of the person's words in it."""

INTRODUCTION = """\
[bold]Playhead demo[/]: one conversation with the booking agent of a restaurant, held over HTTP.
You will see its worker killed with SIGKILL in the middle of a reply, and the reply arrive all the same; a message \
that is sent twice and answered once; a rewind and another way through the call; the tree of turns and the bill. \
At the end Temporal's history, the store and the ledger are compared, turn by turn."""
OFFLINE = """\
[yellow]The OFFLINE DEMO MODEL answers: a script, no AI. Its replies begin with \
"\\[demo model]".[/] Set OPENAI_API_KEY or PLAYHEAD_MODEL to talk to a real model."""
NOTIONAL = """\
[yellow]The prices are notional:[/] the offline demo model costs nothing. They stand for those of a small real model."""

CUT_SHORT = """\
The call that the kill cut short is not in the bill, for its reply never arrived; a provider may charge for it \
all the same."""


class Screen:
    """Standard output, with a line for each stage of the demo."""

    def __init__(self) -> None:
        piped = not sys.stdout.isatty()
        self._console = Console(width=WIDEST if piped else None, highlight=False)
        self._stages = 0

    def introduce(self, model: str, *, is_demo_model: bool) -> None:
        """Say what is going to be shown, and who answers."""
        self._console.print(INTRODUCTION)
        talks_to = f"The agent talks through {escape(model)}: about a dozen short model calls that cost real money."
        self._console.print(OFFLINE if is_demo_model else talks_to)

    def stage(self, title: str) -> None:
        """A new stage begins."""
        self._stages += 1
        self._console.print(f"\n[bold cyan]{self._stages}. {escape(title)}[/]")

    def person(self, text: str) -> None:
        """What the person says, before the answer is there."""
        self._said("you  ", "bold", text)

    def agent(self, turn: Turn, seconds: float | None = None) -> None:
        """What the agent answered, and after how many seconds."""
        text = turn.assistant_message.text if turn.assistant_message else f"({turn.status})"
        self._said("agent", "bold green", text)
        self.note(f"       {turn.node_id or ''}{f', {seconds:.1f} s' if seconds is not None else ''}")

    def note(self, text: str) -> None:
        """Something that happened."""
        self._console.print(f"[dim]{escape(printable(text))}[/]")

    def event(self, text: str) -> None:
        """Something that people should not miss."""
        self._console.print(f"[bold yellow]  * {escape(printable(text))}[/]")

    def tree(self, session: "ChatSession") -> None:
        """Every turn as a tree; what a rewind gave up is set to the right."""
        discarded = {turn.id for branch in session.discarded_branches for turn in branch.turns}
        turns = [*session.turns, *(turn for branch in session.discarded_branches for turn in branch.turns)]
        for line in tree_lines(turns, discarded):
            self._console.print(line, overflow="ellipsis", no_wrap=True)

    def bill(self, totals: "Totals", *, is_demo_model: bool) -> None:
        """What was used and what it costs, model by model."""
        self._table(
            ("model", "requests", "input tokens", "output tokens", "cost"),
            _bill_rows(totals.spent),
        )
        if totals.spent.cost.unpriced_models:
            self._console.print("The price of a model is not known: what it cost is [bold]not[/] in the total.")
        self._console.print(NOTIONAL if is_demo_model else CUT_SHORT)

    def accounts(self, evidence: "Evidence") -> None:
        """What each witness says, one below the other."""
        from playhead.demo.audit import total_of

        def row(name: str, turns: int, calls: object, spent: "Spent | None") -> tuple[str, ...]:
            amounts = (f"{spent.usage.total_tokens:,}", money(spent.cost.total)) if spent else ("", "")
            return (name, str(turns), str(calls), *amounts)

        history, store, totals = evidence.history, evidence.store, evidence.totals
        billed = total_of(entry.spent for entry in evidence.ledger)
        self._table(
            ("who says so", "turns", "model calls", "tokens", "cost"),
            [
                row("answered over HTTP", len(evidence.said), "", None),
                row("Temporal's history", len(history.opened), len(history.steps), total_of(history.steps.values())),
                row("settled, by Temporal's history", len(history.settled), "", None),
                row("the store's tables", len(store.turns), len(store.steps), total_of(store.steps.values())),
                row("the ledger's rows", len(evidence.ledger), billed.usage.requests, billed),
                row("totals of the organization", totals.turns, totals.spent.usage.requests, totals.spent),
            ],
        )
        self.note(f"Model calls that needed more than one attempt, by Temporal's history: {history.retried}.")

    def plain(self, text: str) -> None:
        """A line as it is, whatever its length: the last line is read by programs."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def _said(self, who: str, style: str, text: str) -> None:
        told = f"[{style}]{who}[/]  {escape(' '.join(printable(text).split()))}"
        self._console.print(told)

    def _table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        shown = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for at, column in enumerate(columns):
            shown.add_column(column, justify="right" if at else "left")
        for row in rows:
            shown.add_row(*map(escape, row))
        self._console.print(Padding(shown, (0, 2), expand=False))


def tree_lines(turns: Iterable[Turn], discarded: set[str]) -> list[str]:
    """Turns as lines of markup: a branch goes on straight down, and those that were given up stand beside it."""
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
    person = f"{_beginning(turn.user_message.text, SHOWN_OF_PERSON)} ->" if turn.user_message else "(greeting)"
    agent = turn.assistant_message.text if turn.assistant_message else turn.status
    words = f"{person} {_beginning(agent, SHOWN_IN_TREE - len(indent) - len(person))}"
    sign, style = ("○", "dim") if is_discarded else ("●", "default")
    return f"  [dim]{indent}[/][{style}]{sign} {turn.index} {escape(words)}[/]"


def _beginning(text: str, room: int) -> str:
    words = " ".join(printable(text).split())
    return words if len(words) <= room else f"{words[: room - 1]}…"


def _bill_rows(spent: "Spent") -> Iterator[tuple[str, ...]]:
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
