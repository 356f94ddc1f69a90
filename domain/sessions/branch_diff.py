"""Comparison of two branches: their common turns, and the turns after the point where they diverge."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from domain.durable import FrozenModel

MAX_COMPARED_TURNS: Final = 200
"""Maximum turns of each side in a comparison, from the point of divergence."""


class Divergence(FrozenModel):
    """The point where two branches diverge, by turn ids. `a_after` and `b_after` count turns not listed.

    `last_common` is None for branches without common turns, which have different first turns.
    """

    common: int
    last_common: str | None
    a: tuple[str, ...]
    a_after: int
    b: tuple[str, ...]
    b_after: int


def find_divergence(a: Sequence[str], b: Sequence[str]) -> Divergence:
    """Compare two branches, each given as turn ids from the root. In a tree they diverge at most once."""
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    compared = slice(common, common + MAX_COMPARED_TURNS)
    return Divergence(
        common=common,
        last_common=a[common - 1] if common else None,
        a=tuple(a[compared]),
        a_after=max(len(a) - compared.stop, 0),
        b=tuple(b[compared]),
        b_after=max(len(b) - compared.stop, 0),
    )
