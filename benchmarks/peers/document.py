"""Writes the tables and plots of the peers into docs/benchmarks.md, between two comments."""

from pathlib import Path
from typing import Any

from benchmarks.peers.tables import tables

BEGIN, END = "<!-- peers: written by `make bench-peers ARGS=--docs` -->", "<!-- peers: end -->"


def write_documentation(root: Path, results: dict[str, Any]) -> None:
    """Replace what stands between the comments. Raises ValueError when they are missing."""
    page = root / "docs" / "benchmarks.md"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the tables: {BEGIN} and {END}")
    plots = "![Milliseconds for a reply by turn](images/peers-latency.svg)\n\n![Bytes by turn](images/peers-stored.svg)"
    page.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n\n{plots}\n\n{END}{after}")
