"""Parsing of signals typed by hand: commands are accepted, everything else is rejected with a message."""

import pytest

from domain.rejections import CommandRejected
from domain.sessions.commands import EndSession, Rewind, SendMessage
from workflows.session.signals import message_id_of, read_end, read_message, read_rewind


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Hello.", SendMessage(text="Hello.", on_busy="enqueue")),
        ({"text": "Hello."}, SendMessage(text="Hello.", on_busy="enqueue")),
        ({"text": "Hello.", "on_busy": "reject"}, SendMessage(text="Hello.", on_busy="reject")),
        ({"text": "Hello.", "message_id": "m1"}, SendMessage(text="Hello.", message_id="m1", on_busy="enqueue")),
        ({"text": "Hello.", "of_tomorrow": 1}, SendMessage(text="Hello.", on_busy="enqueue")),
    ],
)
def test_message_is_a_command_or_plain_text_and_waits_for_a_busy_agent(written: object, read: SendMessage) -> None:
    assert read_message((written,)) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("t1", Rewind(turn_id="t1")),
        ({"turn_id": None}, Rewind(turn_id=None)),
        (
            {"turn_id": "t1", "before": True, "expected_revision": 3},
            Rewind(turn_id="t1", before=True, expected_revision=3),
        ),
    ],
)
def test_rewind_is_a_command_or_the_id_of_a_turn(written: object, read: Rewind) -> None:
    assert read_rewind((written,)) == read


@pytest.mark.parametrize(
    ("written", "read"), [(None, EndSession()), ({}, EndSession()), ({"reason": "done"}, EndSession(reason="done"))]
)
def test_end_is_a_command_or_nothing(written: object, read: EndSession) -> None:
    assert read_end((written,)) == read


@pytest.mark.parametrize("written", [None, 7, [], ["Hello."], {}, {"text": 7}, {"text": "Hi.", "on_busy": "shout"}])
def test_an_invalid_message_is_refused_with_a_detail(written: object) -> None:
    with pytest.raises(CommandRejected) as refused:
        read_message((written,))
    assert refused.value.rejection.code == "validation_error"
    assert "The signal's argument is not a command:" in refused.value.rejection.detail


@pytest.mark.parametrize("written", [None, 7, {}, {"turn_id": 7}, {"turn_id": "t1", "before": "maybe"}])
def test_an_invalid_rewind_is_refused(written: object) -> None:
    with pytest.raises(CommandRejected):
        read_rewind((written,))


@pytest.mark.parametrize("written", ["now", 7, [], {"reason": None}])
def test_an_invalid_end_is_refused(written: object) -> None:
    with pytest.raises(CommandRejected):
        read_end((written,))


@pytest.mark.parametrize("written", [(), ("Hello.", "there")])
def test_a_number_of_arguments_other_than_one_is_refused(written: tuple[object, ...]) -> None:
    for read in (read_message, read_rewind):
        with pytest.raises(CommandRejected) as refused:
            read(written)
        assert "takes one argument" in refused.value.rejection.detail


def test_end_needs_no_argument_and_takes_no_second_one() -> None:
    assert read_end(()) == EndSession()
    with pytest.raises(CommandRejected):
        read_end(({}, "now"))


@pytest.mark.parametrize(
    ("written", "message_id"),
    [
        (({"text": "Hello.", "message_id": "m1"},), "m1"),
        (({"text": 7, "message_id": "m1"}, "and more"), "m1"),
        (({"text": 7, "message_id": 7},), None),
        (("Hello.",), None),
        ((None,), None),
        ((), None),
    ],
)
def test_refused_signal_is_noted_with_its_message_id_where_it_has_one(
    written: tuple[object, ...], message_id: str | None
) -> None:
    assert message_id_of(written) == message_id
