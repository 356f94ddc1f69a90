"""Digests of conversations as clients see them: what they depend on, and what they leave out."""

from hypothesis import given
from hypothesis import strategies as st

from domain.sessions.seen_digest import Spoken, is_beginning, is_same, merged, seen_digest, seen_digests

TEXTS = st.text(st.sampled_from("ab \n\u00a0ü"), max_size=6)
CONVERSATIONS = st.lists(st.builds(Spoken, st.sampled_from(["user", "assistant"]), TEXTS), max_size=6)

HELLO = [Spoken("user", "Hello there"), Spoken("assistant", "Good morning.")]


@given(one=CONVERSATIONS, other=CONVERSATIONS)
def test_digests_are_equal_exactly_for_conversations_with_the_same_words(
    one: list[Spoken], other: list[Spoken]
) -> None:
    is_equal = seen_digest("agt", {}, one) == seen_digest("agt", {}, other)
    assert is_equal == (merged(one) == merged(other))


@given(spoken=CONVERSATIONS)
def test_every_prefix_of_a_conversation_keeps_its_digest(spoken: list[Spoken]) -> None:
    digests = seen_digests("agt", {}, spoken)
    whole = merged(spoken)
    assert digests == [seen_digest("agt", {}, whole[:length]) for length in range(len(whole) + 1)]
    assert len(set(digests)) == len(digests)


def test_white_space_pieces_and_blank_texts_do_not_count() -> None:
    pieces = [Spoken("user", " Hello\n"), Spoken("user", "there"), Spoken("assistant", " "), *HELLO[1:]]
    assert seen_digest("agt", {}, pieces) == seen_digest("agt", {}, HELLO)


def test_conversations_differ_by_agent_metadata_and_sides() -> None:
    swapped = [Spoken("assistant", "Hello there"), Spoken("user", "Good morning.")]
    digests = {
        seen_digest("agt", {}, HELLO),
        seen_digest("other", {}, HELLO),
        seen_digest("agt", {"user": "Anna"}, HELLO),
        seen_digest("agt", {"user": "Bert"}, HELLO),
        seen_digest("agt", {}, swapped),
        seen_digest("agt", {}, HELLO[:1]),
    }
    assert len(digests) == 6
    assert seen_digest("agt", {"a": 1, "b": [2]}, HELLO) == seen_digest("agt", {"b": [2], "a": 1}, HELLO)


@given(text=TEXTS, length=st.integers(min_value=0, max_value=6))
def test_text_cut_at_any_character_is_a_beginning(text: str, length: int) -> None:
    assert is_beginning(text[:length], text)
    assert is_same(text, f" {text}\n")
    assert not is_beginning(f"{text}c", text)
