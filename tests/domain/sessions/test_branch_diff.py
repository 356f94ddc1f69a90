"""The last common turn of two branches, and their differences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sessions.branch_diff import MAX_COMPARED_TURNS, find_divergence

ids = st.lists(st.uuids().map(str), unique=True, max_size=12)


@pytest.mark.parametrize(
    ("a", "b", "common", "sides"),
    [
        ("", "", "", ("", "")),
        ("abc", "abc", "abc", ("", "")),
        ("abc", "abde", "ab", ("c", "de")),
        ("ab", "abcd", "ab", ("", "cd")),
        ("abc", "xyz", "", ("abc", "xyz")),
        ("", "ab", "", ("", "ab")),
    ],
)
def test_two_paths_share_what_they_begin_with(a: str, b: str, common: str, sides: tuple[str, str]) -> None:
    parted = find_divergence(a, b)
    assert (parted.common, parted.last_common) == (len(common), common[-1:] or None)
    assert ("".join(parted.a), "".join(parted.b)) == sides
    assert (parted.a_after, parted.b_after) == (0, 0)


def test_a_long_side_is_shown_from_where_it_parts_and_the_rest_is_counted() -> None:
    long = [str(number) for number in range(1_000)]
    parted = find_divergence(long, [*long[:300], "other"])
    assert parted.a == tuple(long[300 : 300 + MAX_COMPARED_TURNS])
    assert (parted.a_after, parted.b, parted.b_after) == (500, ("other",), 0)


@given(shared=ids, a=ids, b=ids)
def test_the_common_part_and_both_sides_make_up_the_two_paths(shared: list[str], a: list[str], b: list[str]) -> None:
    parted = find_divergence([*shared, *a], [*shared, *b])
    assert parted.common >= len(shared)
    assert [*shared, *a][parted.common :] == list(parted.a)
    assert [*shared, *b][parted.common :] == list(parted.b)
    assert not (parted.a and parted.b and parted.a[0] == parted.b[0])
