"""The chat over real HTTP: messages, retries, errors, rewinds and ends."""

from decimal import Decimal

import pytest
from pytest_httpserver import HTTPServer

from playhead.exit_codes import FINDING, UNREACHABLE, USAGE, CommandFailed
from tests.playhead.chat.chat_api import (
    SESSION_ID,
    FakeApi,
    Fault,
    Talk,
    answers,
    broken_gateway,
    carried_out,
    drops_after,
    drops_before,
    fails,
    greets,
    greets_late,
    interrupted_by,
    pends,
    says,
    waits_too_long,
)


@pytest.fixture
def api(httpserver: HTTPServer) -> FakeApi:
    return FakeApi(httpserver, model="openai:gpt-5-mini")


def ids_of(api: FakeApi) -> set[str]:
    return {message["message_id"] for message in api.messages}


def test_conversation_shows_who_talks_the_greeting_and_each_reply(api: FakeApi) -> None:
    api.replies.append(says("For how many?", node="booking", left="greet"))
    talk = Talk(api, "A table, please.", "/quit")
    assert talk.run() == 0
    assert "booking-line, version 3" in talk.text
    assert "session ses_1, model: openai:gpt-5-mini" in talk.text
    assert "demo" not in talk.text
    expected = ["agent: Good evening.", "you: A table, please.", "→ booking", "agent: For how many?"]
    assert [line for line in talk.text.splitlines() if line in expected] == expected
    assert f"playhead chat --session {SESSION_ID}" in talk.remarks


def test_demo_model_is_named_in_the_header(httpserver: HTTPServer) -> None:
    talk = Talk(FakeApi(httpserver, model="demo"))
    talk.run()
    assert "Replies come from the offline demo model: scripted words, no AI." in talk.text


def test_demo_model_not_in_the_header_is_named_once_after_its_first_reply(httpserver: HTTPServer) -> None:
    api = FakeApi(httpserver)
    api.replies.extend([says("One.", model="demo:scripted"), says("Two.", model="demo:scripted")])
    talk = Talk(api, "Hello", "Hello again")
    talk.run()
    assert talk.remarks.count("offline demo model") == 1


def test_every_message_has_an_id_of_its_own(api: FakeApi) -> None:
    Talk(api, "One", "Two").run()
    assert len(ids_of(api)) == 2
    assert all(message_id.startswith("chat_") for message_id in ids_of(api))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(drops_before, id="connection lost on the way there"),
        pytest.param(drops_after, id="connection lost on the way back"),
        pytest.param(waits_too_long, id="the wait ends before the reply"),
        pytest.param(answers(503, "unavailable"), id="a service is away"),
        pytest.param(answers(429, "rate_limited"), id="too many at once"),
        pytest.param(broken_gateway, id="a proxy answers for the API"),
    ],
)
def test_message_without_a_response_is_repeated_with_the_same_id_and_accepted_once(api: FakeApi, fault: Fault) -> None:
    api.faults.append(fault)
    talk = Talk(api, "A table, please.")
    assert talk.run() == 0
    assert len(api.messages) == 2
    assert len(ids_of(api)) == 1
    assert api.said == ["A table, please."]
    assert "agent: You said A table, please." in talk.text
    assert "Trying again" in talk.remarks or "still waiting" in talk.remarks


def test_notes_explain_that_a_retry_sends_nothing_twice_and_report_the_reconnection(api: FakeApi) -> None:
    api.faults.extend([answers(503, "unavailable", "The store is away.")])
    talk = Talk(api, "Hello")
    talk.run()
    assert (
        "The store is away. Trying again in 1 s with the same message id, so that nothing is sent twice."
        in talk.remarks
    )
    assert "Connected again." in talk.remarks


def test_script_gives_up_after_a_minute_without_an_answer(api: FakeApi) -> None:
    api.faults.extend([drops_before] * 20)
    talk = Talk(api, "Hello", "never reached")
    with pytest.raises(CommandFailed) as failed:
        talk.run()
    assert failed.value.status == UNREACHABLE
    assert 50 <= talk.clock.now <= 60
    assert talk.clock.pauses[:4] == [1, 2, 4, 8]
    assert f"--session {SESSION_ID}" in talk.remarks


def test_enter_sends_an_unanswered_message_again_under_the_same_id(api: FakeApi) -> None:
    api.faults.extend([drops_before] * 10)
    talk = Talk(api, "Hello", "", at_terminal=True)
    assert talk.run() == 0
    assert "Press Enter to send it again under the same id." in talk.remarks
    assert len(ids_of(api)) == 1
    assert api.said == ["Hello"]


def test_ctrl_c_stops_waiting_and_enter_waits_again_for_the_same_reply(api: FakeApi) -> None:
    talk = Talk(api, "Hello", "", at_terminal=True)
    api.faults.extend([answers(503, "unavailable")])
    talk.clock.interrupted = True
    assert talk.run() == 0
    assert "Stopped waiting. The reply still continues: press Enter to wait for it." in talk.remarks
    assert "agent: You said Hello" in talk.text
    assert len(ids_of(api)) == 1


def test_next_message_follows_one_whose_reply_was_not_awaited(api: FakeApi) -> None:
    talk = Talk(api, "First", "Second", at_terminal=True)
    api.faults.extend([answers(503, "unavailable")])
    talk.clock.interrupted = True
    talk.run()
    assert api.said == ["First", "Second"]


def test_failed_turn_is_shown_with_advice_and_its_message_can_be_sent_again(api: FakeApi) -> None:
    api.replies.append(fails("The provider is overloaded."))
    talk = Talk(api, "Hello", "Hello", at_terminal=True)
    assert talk.run() == 0
    assert "This turn failed: The provider is overloaded." in talk.text
    assert "The model could not answer." in talk.remarks
    assert "Send the message again" in talk.remarks
    assert talk.typist.offered == ["", "Hello", ""]
    assert len(ids_of(api)) == 2
    assert "agent: You said Hello" in talk.text


def test_script_with_an_unanswered_message_ends_with_status_1(api: FakeApi) -> None:
    api.replies.append(fails("The provider is overloaded."))
    assert Talk(api, "Hello", "Hello again").run() == FINDING


def test_message_after_another_users_turn_is_rejected_and_the_new_turn_is_shown(api: FakeApi) -> None:
    api.faults.append(interrupted_by(lambda: api.conversation.exchange("I was faster.", "So you were.")))
    talk = Talk(api, "And now?", at_terminal=True)
    talk.run()
    assert api.said == ["I was faster."]
    assert "you: I was faster.\nagent: So you were." in talk.text
    assert "The session changed while you were typing." in talk.remarks
    assert "your message was not accepted" in talk.remarks
    assert talk.typist.offered == ["", "And now?"]


def test_message_during_a_reply_to_another_user_is_rejected_and_enter_awaits_that_reply(
    api: FakeApi,
) -> None:
    api.faults.append(interrupted_by(lambda: api.conversation.say("From elsewhere")))
    api.looks.extend([pends, pends, pends, says("At last.")])
    talk = Talk(api, "Hello", "", at_terminal=True)
    talk.run()
    assert "you: From elsewhere\n(the reply is still being generated)" in talk.text
    assert "agent: At last." in talk.text
    assert api.said == ["From elsewhere"]


def test_rejection_by_a_busy_agent_says_what_to_do(api: FakeApi) -> None:
    api.faults.append(answers(409, "turn_in_progress"))
    talk = Talk(api, "Hello")
    assert talk.run() == FINDING
    assert "The agent is still answering an earlier message." in talk.remarks
    assert "Press Enter to wait for the reply" in talk.remarks


def test_too_long_message_is_explained_and_the_chat_goes_on(api: FakeApi) -> None:
    talk = Talk(api, "x" * 40_000, "Shorter")
    assert talk.run() == FINDING
    assert "at most 32000 are allowed" in talk.remarks
    assert "Split it into several shorter messages." in talk.remarks
    assert api.said == ["Shorter"]


def test_empty_lines_send_nothing(api: FakeApi) -> None:
    assert Talk(api, "", "   ").run() == 0
    assert api.messages == []


def test_end_shows_the_reason_and_the_bill(api: FakeApi) -> None:
    talk = Talk(api, "Hello", "/end had enough", "never read")
    assert talk.run() == 0
    assert api.conversation.timeline.completion_reason == "had enough"
    assert "The session has ended: had enough." in talk.text
    assert "$0.02" in talk.text
    assert api.said == ["Hello"]


def test_agent_that_says_goodbye_ends_the_chat(api: FakeApi) -> None:
    api.replies.append(says("Goodbye!", node="goodbye", left="greet", ends=True))
    talk = Talk(api, "Bye", "never read")
    assert talk.run() == 0
    assert "agent: Goodbye!" in talk.text
    assert "The session has ended: the agent said goodbye." in talk.text


def test_message_to_a_session_that_ended_meanwhile_is_explained(api: FakeApi) -> None:
    api.faults.append(interrupted_by(lambda: api.conversation.end("user_idle_max_duration_exceeded")))
    talk = Talk(api, "Still there?", "never read")
    assert talk.run() == FINDING
    assert "there was no message for as long as the agent allows" in talk.text
    assert "This session accepts no more messages." in talk.remarks
    assert len(api.messages) == 1


def test_message_after_a_rewind_starts_a_new_branch_and_the_old_one_is_kept(api: FakeApi) -> None:
    talk = Talk(api, "For two", "On Friday", "/rewind 2", "For four", "/branches", "/timeline")
    assert talk.run() == 0
    assert api.said == ["For two", "For four"]
    assert "Rewound to turn 2." in talk.text
    assert "the discarded one is kept: /branches" in talk.remarks
    assert "1 turn after turn 2, discarded at" in talk.text
    assert "   3  On Friday" in talk.text
    assert "   3  For four" in talk.text


def test_rewind_before_a_turn_and_clear(api: FakeApi) -> None:
    talk = Talk(api, "For two", "/rewind before 1", "/timeline", "/rewind clear")
    assert talk.run() == 0
    assert api.rewinds == [{"turn_id": "t0", "before": True}, {"turn_id": None, "before": False}]
    assert "Rewound to before the first turn." in talk.text
    assert "There are no turns yet." in talk.text
    assert "Back at the end of the conversation." in talk.text


@pytest.mark.parametrize(("choice", "rewinds"), [("1", [{"turn_id": "t0", "before": False}]), ("", [])])
def test_rewind_alone_lists_the_turns_and_asks(api: FakeApi, choice: str, rewinds: list[object]) -> None:
    talk = Talk(api, "For two", "/rewind", choice)
    assert talk.run() == 0
    assert len(talk.typist.questions) == 1
    assert "   1  (greeting)" in talk.text
    assert api.rewinds == rewinds


def test_rewind_to_a_turn_that_is_not_there_says_so(api: FakeApi) -> None:
    talk = Talk(api, "For two", "/rewind 9", "/rewind 1", "/rewind 2")
    assert talk.run() == FINDING
    assert "There is no turn 9 on this branch: the newest is 2." in talk.remarks
    assert "/rewind clear restores the later turns." in talk.remarks


def test_rewind_whose_answer_is_lost_is_repeated(api: FakeApi) -> None:
    talk = Talk(api, "For two", "/rewind 1")
    api.faults.extend([carried_out, drops_after])
    assert talk.run() == 0
    assert len(api.rewinds) == 2
    assert "Rewound to turn 1." in talk.text


def test_usage_and_node_are_shown(api: FakeApi) -> None:
    api.replies.append(says("For how many?", node="booking", left="greet"))
    talk = Talk(api, "A table", "/usage", "/node", "/help")
    assert talk.run() == 0
    assert "test:model" in talk.text
    assert "Current node: booking" in talk.text
    assert "/rewind [N | before N | clear]" in talk.text


def test_continued_session_shows_its_earlier_turns_and_goes_on(api: FakeApi) -> None:
    api.conversation.greeted().exchange("Earlier", "Indeed.")
    talk = Talk(api, "Later")
    assert talk.run(agent=None, session_id=SESSION_ID) == 0
    assert "you: Earlier\nagent: Indeed." in talk.text
    assert api.said == ["Earlier", "Later"]


def test_continued_session_waits_for_the_reply_that_was_pending(api: FakeApi) -> None:
    api.conversation.greeted().say("Earlier", message_id="chat_1")
    api.looks.extend([pends, pends, says("Sorry for the wait.")])
    talk = Talk(api, "Later")
    assert talk.run(agent=None, session_id=SESSION_ID) == 0
    assert "agent: Sorry for the wait." in talk.text
    assert api.said == ["Earlier", "Later"]


def test_session_that_has_ended_cannot_be_continued(api: FakeApi) -> None:
    api.conversation.greeted().end()
    talk = Talk(api, "Hello?")
    assert talk.run(agent=None, session_id=SESSION_ID) == FINDING
    assert "The session has ended" in talk.text
    assert api.messages == []


def test_late_greeting_is_waited_for_in_the_session_that_was_opened(api: FakeApi) -> None:
    api.opening_faults.append(greets_late)
    api.looks.extend([pends, pends, greets("Sorry, good evening.")])
    api.looks.append(pends)
    talk = Talk(api, "Hello")
    assert talk.run() == 0
    assert "is a worker running?" in talk.remarks
    assert talk.text.count("agent: Sorry, good evening.") == 1
    assert api.said == ["Hello"]


@pytest.mark.parametrize(
    ("agent", "session_id", "message"),
    [
        ("nobody", None, "There is no agent of this name"),
        (None, "ses_unknown", "No such session"),
        ("lead-qualification", SESSION_ID, "is booking-line, not lead-qualification"),
        (None, None, "No agent is given"),
    ],
)
def test_session_that_cannot_be_opened_is_wrong_usage(
    api: FakeApi, agent: str | None, session_id: str | None, message: str
) -> None:
    with pytest.raises(CommandFailed, match=message) as failed:
        Talk(api).run(agent, session_id)
    assert failed.value.status == USAGE
    assert failed.value.hint


def test_chat_fails_at_once_if_the_api_never_answered(api: FakeApi) -> None:
    api.opening_faults.append(drops_before)
    talk = Talk(api)
    with pytest.raises(CommandFailed) as failed:
        talk.run()
    assert failed.value.status == UNREACHABLE
    assert talk.clock.pauses == []


def test_opening_is_repeated_only_when_nothing_was_accepted(api: FakeApi) -> None:
    api.opening_faults.extend([answers(503, "unavailable"), drops_after])
    talk = Talk(api)
    with pytest.raises(CommandFailed):
        talk.run()
    assert talk.clock.pauses == [1]


def test_json_writes_each_turn_as_one_line(api: FakeApi) -> None:
    api.replies.extend([says("For how many?", node="booking", left="greet"), fails("Overloaded.")])
    talk = Talk(
        api, "A table", "Four", "/rewind 2", "/timeline", "/branches", "/usage", "/node", "/help", "/end", json=True
    )
    assert talk.run() == FINDING
    kinds = [line["kind"] for line in talk.lines]
    assert kinds == [
        "session", "turn", "turn", "turn", "trouble", "rewound", "timeline", "branches", "usage", "node", "ended"
    ]  # fmt: skip
    greeting, booking, failed = (line for line in talk.lines if line["kind"] == "turn")
    assert greeting["assistant_message"]["text"] == "Good evening."
    assert booking["user_message"]["text"] == "A table"
    assert booking["events"][0]["payload"]["to_node"] == "booking"
    assert (booking["number"], booking["index"]) == (2, 1)
    assert failed["status"] == "failed"
    trouble = talk.lines[4]
    assert trouble["code"] == "model_failed"
    assert Decimal(talk.lines[-1]["cost"]["total"]) == Decimal("0.03")
    assert "/rewind" in talk.remarks


def test_words_of_the_model_cannot_steer_the_terminal(api: FakeApi) -> None:
    api.replies.append(says("\x1b[2Jred\x1b]0;title\x07 \u202eback"))
    talk = Talk(api, "Hello")
    talk.run()
    assert "agent: [2Jred]0;title back" in talk.text
