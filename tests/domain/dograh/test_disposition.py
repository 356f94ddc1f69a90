"""Dispositions of ended sessions, for `/v1` and for clients of dograh."""

import pytest
from pydantic import JsonValue

from domain.dograh.disposition import disposition_of, tags_of, with_disposition


@pytest.mark.parametrize(
    ("reason", "disposition"),
    [
        (None, None),
        ("end_node", "user_qualified"),
        ("user_hangup", "user_hangup"),
        ("user_idle_max_duration_exceeded", "user_idle_max_duration_exceeded"),
        ("max_turns", "max_turns"),
        ("the building burns", "the building burns"),
    ],
)
def test_the_disposition_is_derived_from_the_completion_reason(reason: str | None, disposition: str | None) -> None:
    assert disposition_of(reason) == disposition


@pytest.mark.parametrize(
    ("gathered", "reason", "tags"),
    [
        (None, None, ()),
        (["vip"], None, ("vip",)),
        (["vip"], "user_hangup", ("vip", "user_hangup")),
        (["user_hangup", "vip"], "user_hangup", ("user_hangup", "vip")),
        ("vip", "user_hangup", ("user_hangup",)),
        ([7, "vip"], "end_node", ("vip", "user_qualified")),
    ],
)
def test_tags_are_those_gathered_and_the_disposition(
    gathered: JsonValue, reason: str | None, tags: tuple[str, ...]
) -> None:
    assert tags_of({"call_tags": gathered}, reason) == tags


def test_the_gathered_context_of_a_running_session_is_as_it_was_gathered() -> None:
    gathered: dict[str, JsonValue] = {"party_size": 4, "call_tags": ["vip"]}
    assert with_disposition(gathered, None) == gathered


def test_the_gathered_context_of_an_ended_session_says_how_it_ended() -> None:
    gathered: dict[str, JsonValue] = {"party_size": 4, "call_tags": [7, "vip"]}
    assert with_disposition(gathered, "end_node") == {
        "party_size": 4,
        "call_status": "user_qualified",
        "call_disposition": "user_qualified",
        "mapped_call_disposition": "user_qualified",
        "call_tags": [7, "vip", "user_qualified"],
    }
    assert gathered["call_tags"] == [7, "vip"], "what was gathered is not touched"


@pytest.mark.parametrize(
    ("learned", "reason", "disposition", "status"),
    [
        ("XFER", "end_node", "XFER", "user_qualified"),
        ("  XFER ", "end_node", "XFER", "user_qualified"),
        ("", "end_node", "user_qualified", "user_qualified"),
        (None, "end_node", "user_qualified", "user_qualified"),
        (7, "end_node", "user_qualified", "user_qualified"),
        ("XFER", "user_hangup", "user_hangup", "user_hangup"),
        ("XFER", "max_turns", "max_turns", "max_turns"),
    ],
)
def test_a_disposition_learned_in_the_conversation_wins_at_an_end_node(
    learned: JsonValue, reason: str, disposition: str, status: str
) -> None:
    gathered: dict[str, JsonValue] = {"call_disposition": learned, "call_tags": ["vip"]}
    shown = with_disposition(gathered, reason)
    assert shown["call_disposition"] == shown["mapped_call_disposition"] == disposition
    assert shown["call_status"] == status
    assert shown["call_tags"] == ["vip", disposition]
    assert tags_of(gathered, reason) == ("vip", disposition)
