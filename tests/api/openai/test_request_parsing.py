"""Parsing of OpenAI chat completion requests."""

import pytest
from pydantic import JsonValue

from api.openai.errors import ChatError
from api.openai.parameters import MAX_NAMED, ignored_parameters
from api.openai.request_parsing import RequestedTurn, read_request
from api.openai.schemas import ChatRequest
from domain.sessions.seen_digest import Spoken
from domain.turns.turn import ReplyFormat

HELLO = (Spoken("user", "Hello"), Spoken("assistant", "Good morning."))
TABLE = (Spoken("user", "A table, please."), Spoken("assistant", "For how many?"))
FOUR = Spoken("user", "Four.")

Said = tuple[str, object]


def read(*said: Said, **parameters: object) -> RequestedTurn:
    """Parse a request with these messages."""
    messages = [{"role": role, "content": content} for role, content in said]
    return read_request(ChatRequest.model_validate({"model": "booking-line", "messages": messages, **parameters}))


def rejection(*said: Said, **parameters: object) -> tuple[str | None, str | None]:
    """The code and parameter of a request's error."""
    with pytest.raises(ChatError) as refused:
        read(*(said or [("user", "Hello")]), **parameters)
    assert refused.value.status == 400
    return refused.value.body.code, refused.value.body.param


def test_last_user_message_is_sent_and_the_rest_is_the_conversation() -> None:
    wanted = read(
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Good morning."),
        ("user", "A table, please."),
        ("assistant", [{"type": "text", "text": "For how "}, {"type": "text", "text": "many?"}]),
        ("user", "Four."),
    )
    assert wanted == RequestedTurn("Four.", (*HELLO, *TABLE, FOUR), "Be brief.")


def test_conversation_is_kept_as_the_client_sends_it_without_blank_messages() -> None:
    wanted = read(
        ("assistant", "Welcome!"),
        ("user", "Is anybody there?"),
        ("user", "Hello"),
        ("assistant", "Good"),
        ("user", " "),
        ("assistant", None),
        ("user", "Four."),
        ("assistant", ""),
    )
    spoken = (("assistant", "Welcome!"), ("user", "Is anybody there?"), ("user", "Hello"), ("assistant", "Good"))
    assert wanted == RequestedTurn("Four.", (*(Spoken(*each) for each in spoken), FOUR), None)  # type: ignore[arg-type]  # roles as text


def test_a_request_without_a_user_message_asks_for_the_greeting() -> None:
    assert read(("system", "Be brief.")).text is None
    assert read().text is None


def test_messages_that_cannot_be_answered_are_refused() -> None:
    assert rejection(("user", "Hello"), ("assistant", "Good")) == ("nothing_to_say", "messages")
    assert rejection(("user", "  ")) == ("nothing_to_say", "messages")
    assert rejection(("user", "Hello"), ("tool", "42")) == ("nothing_to_say", "messages")
    picture = [{"type": "image_url", "image_url": {"url": "data:"}}]
    assert rejection(("user", picture)) == ("unsupported_message", "messages[0].content[0]")


@pytest.mark.parametrize(
    ("name", "changes", "changes_nothing"),
    [
        ("n", 2, 1),
        ("tool_choice", "required", "auto"),
        ("function_call", {"name": "f"}, "none"),
        ("response_format", {"type": "grammar"}, {"type": "text"}),
        ("modalities", ["text", "audio"], ["text"]),
        ("audio", {"voice": "x"}, None),
        ("stop", ["\n"], []),
        ("logprobs", True, False),
        ("top_logprobs", 3, 0),
        ("logit_bias", {"1": 5}, {}),
    ],
)
def test_unsupported_parameters_are_refused_unless_they_change_nothing(
    name: str, changes: object, changes_nothing: object
) -> None:
    assert rejection(**{name: changes}) == ("unsupported_parameter", name)
    assert read(("user", "Hello"), **{name: changes_nothing}).text == "Hello"
    assert read(("user", "Hello"), **{name: None}).text == "Hello"


def test_parameters_without_effect_are_accepted_and_undocumented_ones_are_listed() -> None:
    tuning: dict[str, JsonValue] = {"temperature": 0.3, "max_tokens": 9, "user": "u-1", "store": False}
    offered: dict[str, JsonValue] = {
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "functions": [],
        "web_search_options": {},
    }
    unknown: dict[str, JsonValue] = {
        "call": {"id": "c-1"},
        "elevenlabs_extra_body": {"conversation_id": "c-2"},
        "säße, so": 1,
    }
    unset: dict[str, JsonValue] = {"stream": None, "stream_options": {"include_usage": None}, "metadata": None}
    assert read(("user", "Hello"), **tuning, **offered, **unknown, **unset).text == "Hello"
    named = ignored_parameters({**tuning, **offered, **unknown})
    assert named == "tools, call, elevenlabs_extra_body, s%C3%A4%C3%9Fe%2C%20so"
    assert ignored_parameters({"n": 1, "logprobs": False, "not_invented_yet": None}) == ""
    assert len(ignored_parameters({f"field_{number}": 1 for number in range(999)}).split(", ")) == MAX_NAMED


def test_tool_messages_in_the_history_are_no_part_of_the_conversation() -> None:
    request = read(
        ("user", "Hello"),
        ("assistant", None),
        ("tool", [{"type": "tool_result", "data": 42}]),
        ("assistant", "Good morning."),
        ("user", "A table, please."),
    )
    assert request.spoken == (*HELLO, TABLE[0])


SCHEMA: dict[str, JsonValue] = {"type": "object", "properties": {"guests": {"type": "integer"}}}


def test_response_format_becomes_the_reply_format() -> None:
    assert read(("user", "Hello"), response_format={"type": "json_object"}).reply_format == ReplyFormat()
    described = {"name": "booking", "description": "A booking.", "strict": True, "schema": SCHEMA}
    requested = read(("user", "Hello"), response_format={"type": "json_schema", "json_schema": described})
    assert requested.reply_format == ReplyFormat(
        json_schema=SCHEMA, name="booking", description="A booking.", strict=True
    )


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ("json_object", "response_format"),
        ({"type": "json_schema"}, "response_format"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "response_format.json_schema.schema"),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_an_invalid_response_format_is_refused(form: object, param: str) -> None:
    assert rejection(response_format=form) == ("unsupported_parameter", param)
