"""Runs every client and writes the table of clients in docs/openai.md: `python -m tests.clients.table`."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.clients.catalogue import CLIENTS, HEAVY_CLIENTS, Client
from tests.e2e.processes import CHECKOUT, dev_stack

PAGE: Final = CHECKOUT / "docs" / "openai.md"
AGENT: Final = "booking-line"
SLOW_REPLIES: Final = {"PLAYHEAD_DEMO_DELAY_SECONDS": "3"}
"""The environment of the stack of heavy clients: its replies last long enough to be interrupted."""
HEAD: Final = "| client | to set | three turns |\n| --- | --- | --- |\n"
_TABLE: Final = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")


def rows_of_the_page() -> list[str]:
    """The rows of the table in the documentation."""
    table = _TABLE.search(PAGE.read_text())
    assert table is not None, f"{PAGE.name} has no table of clients"
    return table[0].removeprefix(HEAD).splitlines()


def write(rows: Sequence[str]) -> None:
    """Replace the table in the documentation."""
    table = "".join((HEAD, *(f"{row}\n" for row in rows)))
    PAGE.write_text(_TABLE.sub(lambda _: table, PAGE.read_text(), count=1))


def main() -> None:
    """Run every client against a stack of its kind, and write the table."""
    write([*_rows(CLIENTS, {}), *_rows(HEAVY_CLIENTS, SLOW_REPLIES)])


def _rows(clients: Sequence[Client], variables: Mapping[str, str]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder, dev_stack(Path(folder), None, **variables) as stack:
        api_url = stack.until_ready()["api_url"]
        return [client.row(client.talk(api_url, AGENT)) for client in clients]


if __name__ == "__main__":
    main()
