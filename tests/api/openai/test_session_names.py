"""Ids of sessions in requests: which field counts, and further ones by the settings."""

import pytest
from pydantic import JsonValue

from api.openai.errors import ChatError
from api.openai.session_names import SessionName, SessionNames


def test_ids_of_the_settings_come_before_those_of_platforms_and_after_those_of_playhead() -> None:
    names = SessionNames(["X-Conversation"], ["conversation.id"])
    call: dict[str, JsonValue] = {"call": {"id": "vapi"}}
    assert names.name({}, call) == SessionName("vapi", is_of_platform=True)
    named: dict[str, JsonValue] = {**call, "conversation": {"id": "own"}}
    assert names.name({}, named) == SessionName("own", is_of_platform=True)
    assert names.name({"x-conversation": "head"}, named) == SessionName("head", is_of_platform=True)
    assert names.name({"x-conversation": "head", "x-session-id": "s-1"}, named) == SessionName("s-1")
    assert {"conversation", "call", "session_id", "metadata"} <= names.fields


def test_empty_ids_are_none_and_numbers_are_texts() -> None:
    names = SessionNames()
    assert names.name({"x-session-id": ""}, {"session_id": "", "metadata": None, "call": "no object"}) is None
    assert names.name({}, {"chat_id": 17}) == SessionName("17", is_of_platform=True)
    with pytest.raises(ChatError, match="must be a text"):
        names.name({}, {"chat_id": True})
