"""Digests of requests: computed by whole steps, they equal those computed by single messages."""

import json

import pytest

from domain.turns.model_request import (
    RequestFrame,
    RequestMessage,
    RequestPurpose,
    digest_of_request,
    messages_of,
    request_digest,
)


def asked(text: str) -> dict[str, object]:
    return {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": text}]}


def answered(text: str) -> dict[str, object]:
    return {"kind": "response", "parts": [{"part_kind": "text", "content": text}]}


GREETING = json.dumps([answered("Good evening.")])
EXCHANGE = json.dumps([asked("When do you open?"), answered("At nine.")])
CALL = json.dumps(
    [
        asked("Is it in?"),
        {
            "kind": "response",
            "parts": [{"part_kind": "tool-call", "tool_name": "look", "tool_call_id": "c1", "args": {}}],
        },
    ]
)
RESULT = json.dumps(
    [
        {
            "kind": "request",
            "parts": [{"part_kind": "tool-return", "tool_name": "look", "tool_call_id": "c1", "content": "yes"}],
        },
        answered("It is."),
    ]
)
OWN = (RequestMessage(role="user", content="And on Sundays?"),)


@pytest.mark.parametrize("purpose", ["turn", "extraction"])
@pytest.mark.parametrize("own", [(), OWN], ids=["nothing new", "a message"])
@pytest.mark.parametrize(
    "earlier",
    [(), ("[]",), (GREETING,), (GREETING, EXCHANGE), (EXCHANGE, "[]", CALL, RESULT), ("[]", GREETING)],
    ids=["none", "blank", "greeting", "greeted", "tools", "blank greeting"],
)
def test_the_digest_by_steps_is_that_of_the_messages(
    earlier: tuple[str, ...], own: tuple[RequestMessage, ...], purpose: RequestPurpose
) -> None:
    frame = RequestFrame(
        purpose=purpose, instructions="Be brief.", asked="Record." if purpose == "extraction" else None
    )
    placed = messages_of(frame, (("turn_0", saved) for saved in earlier), (("", message) for message in own))
    assert digest_of_request(frame, earlier, own) == request_digest(frame, placed)
