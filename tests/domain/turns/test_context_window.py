"""The cut of a conversation that is too long for one model request."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.turns.context_window import (
    KEPT_SHARE,
    ContextCut,
    ContextFit,
    EarlierTurn,
    TokenRate,
    context_limit,
    earlier_turn,
    frame_size,
    messages_size,
)
from domain.turns.model_request import RequestFrame, messages_to_send
from domain.turns.turn import AgentSaid, ToolReturned, UserSaid

BYTE_BY_BYTE = TokenRate(1, 1, "provider")
turns = st.lists(st.builds(EarlierTurn, st.integers(1, 60), st.booleans()), max_size=40)
rates = st.sampled_from([BYTE_BY_BYTE, TokenRate.estimate(), TokenRate.counted(300, 700)])


def cut_of(
    earlier: Sequence[EarlierTurn],
    *,
    limit: int,
    fixed: int = 10,
    rate: TokenRate = BYTE_BY_BYTE,
    opens: bool = True,
    before: ContextCut | None = None,
) -> tuple[ContextCut, int]:
    """The cut for a branch, oldest turn first, after the cut of the turn before; and the number of turns read."""
    fit = ContextFit(
        limit=limit,
        fixed=fixed,
        rate=rate,
        opens=opens,
        since=None if before is None else before.turns + 1,
        left_out=before.left_out if before else None,
    )
    left = list(earlier)
    while fit.needs_more:
        if not left:
            fit.end()
            break
        fit.add(left.pop())
    return fit.cut, len(earlier) - len(left)


def cuts_of(earlier: Sequence[EarlierTurn], *, limit: int, rate: TokenRate) -> list[ContextCut]:
    """The cuts of all requests of a conversation: the one that answers each turn, the first turn included."""
    cuts: list[ContextCut] = []
    for answered, turn in enumerate(earlier):
        before = cuts[-1] if cuts else None
        cuts.append(cut_of(earlier[:answered], limit=limit, opens=turn.opens, rate=rate, before=before)[0])
    return cuts


def test_everything_is_sent_while_it_fits() -> None:
    earlier = [EarlierTurn(20, opens=True)] * 4
    assert cut_of(earlier, limit=90)[0] == ContextCut(4, 0, 90, "provider")


def test_a_moved_cut_leaves_a_third_of_the_limit_free() -> None:
    earlier = [EarlierTurn(20, opens=True)] * 5
    cut, _ = cut_of(earlier, limit=90)
    assert cut.turns == 2, "ten bytes and two turns of twenty are within sixty"


def test_results_are_not_separated_from_their_calls() -> None:
    calls, results = EarlierTurn(20, opens=True), EarlierTurn(20, opens=False)
    cut, _ = cut_of([calls, EarlierTurn(20, opens=True), results], limit=50)
    assert cut.turns == 0, "the newest turn that may come first does not fit with what follows it"
    cut, _ = cut_of([EarlierTurn(40, opens=True), calls, results], limit=76)
    assert cut.turns == 2


def test_calls_of_the_turn_before_stay_with_their_results_even_over_the_limit() -> None:
    cut, _ = cut_of([EarlierTurn(20, opens=True), EarlierTurn(500, opens=True)], limit=60, opens=False)
    assert cut.turns == 1


def test_a_message_longer_than_the_limit_is_sent_alone_and_nothing_is_read() -> None:
    cut, looked_at = cut_of([EarlierTurn(20, opens=True)] * 9, limit=60, fixed=100)
    assert (cut.turns, looked_at) == (0, 0)


@given(turns, st.integers(30, 400), rates)
def test_the_cut_keeps_the_rules_in_every_conversation(earlier: list[EarlierTurn], limit: int, rate: TokenRate) -> None:
    cuts = cuts_of(earlier, limit=limit, rate=rate)
    assert cuts == cuts_of(earlier, limit=limit, rate=rate), "the same branch has the same cuts"
    share, of = KEPT_SHARE
    for answered, cut in enumerate(cuts):
        assert cut.left_out == answered - cut.turns, "every turn is either sent or counted as left out"
        kept = earlier[answered - cut.turns : answered]
        size = 10 + sum(turn.size for turn in kept)
        assert cut.tokens == rate.of(size)
        if answered == 0:
            continue
        has_moved = cuts[answered - 1].left_out != cut.left_out
        first = [*kept, earlier[answered]][0]
        if has_moved:
            assert first.opens, "the model sees a user's message first"
            assert cut.left_out > (cuts[answered - 1].left_out or 0), "what was left out does not come back"
            smaller = any(turn.opens for turn in [*kept[1:], earlier[answered]]) and cut.turns > 0
            assert rate.of(size) * of <= limit * share or not smaller, "a jump makes room, where there is a border"
        elif rate.of(size) > limit:
            assert not any(turn.opens for turn in [*kept[1:], earlier[answered]]) or cut.turns == 0


@given(turns, st.integers(30, 400), st.data())
def test_a_branch_goes_on_from_the_cut_at_its_beginning(
    earlier: list[EarlierTurn], limit: int, data: st.DataObject
) -> None:
    cuts = cuts_of(earlier, limit=limit, rate=BYTE_BY_BYTE)
    kept = data.draw(st.integers(0, len(earlier)))
    other = data.draw(turns)
    assert cuts_of([*earlier[:kept], *other], limit=limit, rate=BYTE_BY_BYTE)[:kept] == cuts[:kept]


@given(st.lists(st.integers(1, 20), min_size=50, max_size=200), st.integers(200, 400))
def test_the_cut_moves_seldom(sizes: list[int], limit: int) -> None:
    cuts = cuts_of([EarlierTurn(size, opens=True) for size in sizes], limit=limit, rate=BYTE_BY_BYTE)
    jumps = sum(before.left_out != after.left_out for before, after in pairwise(cuts))
    room = limit // 3 - 20
    assert jumps <= sum(sizes) // room + 1, "between two jumps a third of the limit is said"


def test_a_conversation_without_kept_cuts_is_not_read_beyond_the_limit() -> None:
    cut, looked_at = cut_of([EarlierTurn(20, opens=True)] * 1_000, limit=90)
    assert (cut.turns, cut.left_out, looked_at) == (2, None, 5)


@pytest.mark.parametrize(
    ("own", "window", "expected"),
    [(None, None, 32_000), (8_000, None, 8_000), (None, 8_000, 7_000), (500_000, 128_000, 112_000)],
)
def test_the_limit_is_the_agents_or_the_installations_within_the_window(
    own: int | None, window: int | None, expected: int
) -> None:
    assert context_limit(own, 32_000, window) == expected


@pytest.mark.parametrize(
    ("tokens", "size", "expected"),
    [(250, 1_000, 250), (0, 1_000, 250), (1, 1_000, 25), (9_000, 1_000, 1_000), (330, 1_000, 330)],
    ids=["reported", "not reported", "too few", "too many", "another"],
)
def test_tokens_are_counted_by_what_the_provider_reported(tokens: int, size: int, expected: int) -> None:
    assert TokenRate.counted(tokens, size).of(1_000) == expected


def test_an_estimate_is_marked_as_one() -> None:
    assert TokenRate.estimate().counted_by == TokenRate.counted(0, 10).counted_by == "estimate"
    assert TokenRate.counted(5, 10).counted_by == "provider"


def test_sizes_are_those_of_the_text_in_bytes() -> None:
    assert messages_size(messages_to_send([UserSaid(text="é" * 10)])) == 36
    assert messages_size(messages_to_send([AgentSaid(text=""), ToolReturned(call_id="a", name="b", content="c")])) == 33
    assert frame_size(RequestFrame(purpose="turn", instructions="Speak.")) == 22


def test_a_turn_that_begins_with_results_cannot_come_first() -> None:
    asked = '[{"kind":"request","parts":[{"part_kind":"user-prompt","content":"Hello"}]}]'
    returned = '[{"kind":"request","parts":[{"part_kind":"tool-return","content":"ok","tool_call_id":"1"}]}]'
    assert earlier_turn([asked, returned]) == EarlierTurn(39, opens=True)
    assert earlier_turn([returned, asked]).opens is False
