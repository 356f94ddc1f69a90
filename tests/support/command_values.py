"""Values for arbitrary commands: few ids, so that repeats are common, and some odd ones."""

from hypothesis import strategies as st

from domain.sessions.command_handlers import MAX_LABEL_CHARACTERS, MAX_TEXT_CHARACTERS

TOO_LONG = "x" * (MAX_TEXT_CHARACTERS + 1)
TEXTS = st.sampled_from(["hello", "a table for two", "no \x00, Ümlaut 🙂"])
ODD_TEXTS = st.sampled_from(["hello", "a table for two", "", " \n", TOO_LONG])
MESSAGE_IDS = st.sampled_from([None, "m1", "m2", "m3", "m" * (MAX_LABEL_CHARACTERS + 1)])
REASONS = st.sampled_from(["user_hangup", "done", "r" * (MAX_LABEL_CHARACTERS + 1)])
PICKS = st.integers(min_value=0, max_value=59)
WORDS = st.lists(st.sampled_from(["Certainly.", "One moment."]), max_size=2).map(tuple)
TOKENS = st.integers(min_value=0, max_value=1_000)
REVISIONS = st.sampled_from(["none", "right", "older", "newer"])
RARELY = st.integers(min_value=0, max_value=11).map(lambda number: number == 7)
"""Rarely true: Hypothesis prefers the ends of a range to a value in its middle."""
