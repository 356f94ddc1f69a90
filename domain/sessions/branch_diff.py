"""Two paths through a conversation side by side: what they share, and what each has of its own."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from domain.durable import FrozenModel

MAX_COMPARED_TURNS: Final = 200
"""Turns of each side that a comparison shows, from where the two part."""


class Divergence(FrozenModel):
    """Where two paths part. Turns are named by their ids; those of a side that are not shown are counted.

    `last_common` is None for paths that share nothing: then one of them begins with another opening.
    """

    common: int
    last_common: str | None
    a: tuple[str, ...]
    a_after: int
    b: tuple[str, ...]
    b_after: int


def find_divergence(a: Sequence[str], b: Sequence[str]) -> Divergence:
    """Compare two paths, each the ids of its turns from the root on: in a tree they part once, and for good."""
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    shown = slice(common, common + MAX_COMPARED_TURNS)
    return Divergence(
        common=common,
        last_common=a[common - 1] if common else None,
        a=tuple(a[shown]),
        a_after=max(len(a) - shown.stop, 0),
        b=tuple(b[shown]),
        b_after=max(len(b) - shown.stop, 0),
    )
