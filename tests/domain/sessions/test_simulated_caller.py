"""Rules of simulated users: when they speak, when they wait, and when they stop."""

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.rejections import CommandRejected
from domain.sessions.caller_config import CallerLimits, Persona, SetSimulator, SimulatorConfig, SimulatorState
from domain.sessions.simulated_caller import (
    caller_deadline,
    message_id_of_call,
    next_action,
    next_call_id,
    opening_message,
    send_caller_message,
    set_simulator,
    start_simulation,
    status_of,
    stop_caller,
    utterances_since_last_call,
)
from tests.support.conversation import Conversation, kinds

CONFIG = SimulatorConfig(goal="Book a table.", persona=Persona(name="Anna"))


class Call(Conversation):
    """A conversation with a simulated user."""

    def __init__(self, config: SimulatorConfig = CONFIG) -> None:
        super().__init__()
        self.greeted()
        self.timeline = start_simulation(self.timeline, config, at=self.tick())

    def next_action(self) -> str | None:
        return next_action(self.timeline, at=self.now)

    @property
    def simulation(self) -> SimulatorState:
        assert self.timeline.simulator is not None
        return self.timeline.simulator

    def message(self, text: str, reply: str = "Certainly.", *, hangs_up: bool = False) -> str:
        """Add a paid message of the simulated user and its reply; returns the id of the auxiliary model call."""
        call_id = next_call_id(self.timeline, "ses_1")
        self.timeline = send_caller_message(
            self.timeline,
            text,
            message_id_of_call(call_id),
            turn_id=self._new_turn(),
            hangs_up=hangs_up,
            at=self.tick(),
        )
        self.answer(reply)
        return call_id

    def switch(self, *, enabled: bool, config: SimulatorConfig | None = None) -> None:
        command = SetSimulator(enabled=enabled, config=config)
        self.timeline = set_simulator(self.timeline, command, at=self.tick())


def limited(**limits: object) -> SimulatorConfig:
    return CONFIG.model_copy(update={"limits": CallerLimits.model_validate(limits)})


def test_a_simulated_user_sends_a_message_after_each_reply() -> None:
    call = Call()
    assert call.next_action() == "speak"
    call.timeline = send_caller_message(call.timeline, "A table, please.", "caller_1", turn_id="t9", at=call.tick())
    assert call.next_action() is None
    call.answer(turn_id="t9")
    assert call.next_action() == "speak"


def test_starting_with_a_simulated_user_raises_no_revision() -> None:
    assert Call().timeline.revision == Conversation().greeted().timeline.revision


def test_a_conversation_without_a_simulated_user_has_no_next_action() -> None:
    conversation = Conversation().greeted()
    assert next_action(conversation.timeline, at=conversation.now) is None


def test_a_person_takes_over_and_hands_back() -> None:
    call = Call()
    call.message("A table, please.")
    call.exchange("Let me speak to them.")
    assert call.next_action() is None
    call.switch(enabled=True)
    assert (call.next_action(), call.simulation.lines) == ("speak", 1)


def test_a_rewind_pauses_the_simulated_user_until_the_cursor_is_cleared() -> None:
    call = Call()
    first = call.head.id
    call.message("A table, please.")
    call.rewind(first)
    assert call.next_action() is None
    call.rewind(None)
    assert call.next_action() == "speak"


def test_a_simulated_user_continues_from_a_rewind_with_its_earlier_state() -> None:
    call = Call()
    first = call.message("A table, please.", "For how many?")
    there = call.head.id
    call.message("For four.", "On what day?")
    call.rewind(there)
    call.switch(enabled=True)
    assert call.next_action() == "speak"
    assert utterances_since_last_call(call.timeline)[0] == first
    assert received(call) == ["agent: For how many?"]
    call.message("For five.")
    assert call.next_action() == "speak"
    assert call.visible[-2] == there
    call.rewind(there)
    assert call.next_action() is None


def test_a_simulated_user_that_is_switched_off_sends_nothing() -> None:
    call = Call()
    call.switch(enabled=False)
    assert call.next_action() is None
    revision = call.timeline.revision
    call.switch(enabled=False)
    assert call.timeline.revision == revision


def test_another_config_starts_another_simulated_user() -> None:
    call = Call()
    call.message("A table, please.")
    call.switch(enabled=True, config=CONFIG)
    assert call.simulation.lines == 1
    call.switch(enabled=True, config=CONFIG.model_copy(update={"goal": "Cancel it."}))
    assert (call.simulation.lines, call.simulation.config.goal) == (0, "Cancel it.")


def test_a_simulated_user_needs_a_config() -> None:
    conversation = Conversation().greeted()
    off = set_simulator(conversation.timeline, SetSimulator(enabled=False), at=conversation.now)
    assert off == conversation.timeline
    with pytest.raises(CommandRejected, match="send a config"):
        set_simulator(conversation.timeline, SetSimulator(enabled=True), at=conversation.now)


def test_switching_a_simulated_user_is_rejected_like_any_command() -> None:
    call = Call()
    with pytest.raises(CommandRejected) as stale:
        set_simulator(call.timeline, SetSimulator(enabled=False, expected_revision=99), at=call.now)
    assert stale.value.rejection.code == "revision_conflict"
    call.end()
    with pytest.raises(CommandRejected) as ended:
        set_simulator(call.timeline, SetSimulator(enabled=False), at=call.now)
    assert ended.value.rejection.code == "session_ended"
    assert call.next_action() is None


def test_a_simulated_user_that_hung_up_stops_after_the_reply() -> None:
    call = Call()
    call.message("That is all, goodbye.", hangs_up=True)
    assert call.next_action() == "caller_hung_up"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (limited(max_turns=2), "caller_max_turns"),
        (limited(max_cost_usd="0.03"), "caller_max_cost"),
        (limited(seconds=4), "caller_time_over"),
    ],
)
def test_each_limit_has_its_reason(config: SimulatorConfig, reason: str) -> None:
    call = Call(config)
    assert call.next_action() == "speak"
    call.message("A table, please.")
    assert call.next_action() == "speak"
    call.message("For four.")
    assert call.next_action() == reason


def test_the_time_limit_applies_during_a_pending_reply() -> None:
    call = Call(limited(seconds=10))
    assert caller_deadline(call.timeline) == call.simulation.since + timedelta(seconds=10)
    call.timeline = send_caller_message(call.timeline, "A table.", "caller_1", turn_id="t9", at=call.tick())
    assert call.next_action() is None
    call.now += timedelta(seconds=10)
    assert call.next_action() == "caller_time_over"


def test_a_simulated_user_that_repeats_itself_makes_no_progress() -> None:
    call = Call(limited(max_stalled_turns=2))
    for number, message in enumerate(
        ["I want a big table.", "I want a big table!", "Hm.", "i want  a big table", "Hm."]
    ):
        assert call.next_action() == "speak"
        call.message(message, f"Question {number}?")
    assert call.simulation.stalled == 0, "a short answer to another question is progress"
    call.message("I want a big table.", "The same.")
    call.message("I want a big table.", "The same.")
    assert call.next_action() == "caller_stalled"


def test_a_short_answer_to_the_same_question_is_a_repeat() -> None:
    call = Call(limited(max_stalled_turns=2))
    for _ in range(4):
        call.message("Yes.", "Is that right?")
    assert call.simulation.stalled == 2


def test_without_that_limit_a_simulated_user_may_repeat_itself() -> None:
    call = Call(limited(max_stalled_turns=None))
    for _ in range(12):
        call.message("I want a big table.")
    assert call.next_action() == "speak"
    assert len(call.simulation.recent_exchanges) == 16


def test_a_reply_that_failed_ends_the_simulation() -> None:
    call = Call()
    call.timeline = send_caller_message(call.timeline, "A table.", "caller_1", turn_id="t9", at=call.tick())
    call.fail(turn_id="t9")
    assert call.next_action() == "agent_failed"


def test_stopping_ends_the_session_with_the_reason() -> None:
    call = Call()
    call.timeline = stop_caller(call.timeline, "caller_failed", error="The caller's model is away.", at=call.tick())
    assert (call.timeline.completion_reason, call.simulation.stopped) == ("caller_failed", "caller_failed")
    assert kinds(call.head)[-2:] == ["execution_error", "session_end"]
    assert call.next_action() is None


def test_it_is_not_the_simulated_users_turn_once_the_session_has_ended() -> None:
    call = Call()
    before = status_of(call.timeline)
    call.end()
    after = status_of(call.timeline)
    assert before is not None
    assert after is not None
    assert (before.has_the_floor, after.has_the_floor) == (True, False)


def test_a_simulated_user_receives_only_new_messages() -> None:
    call = Call()
    assert utterances_since_last_call(call.timeline)[0] is None
    assert received(call) == ["agent: Good evening."]
    first = call.message("A table, please.", "For how many?")
    assert utterances_since_last_call(call.timeline)[0] == first
    assert received(call) == ["agent: For how many?"]
    call.exchange("For four.", "On what day?")
    assert utterances_since_last_call(call.timeline)[0] == first
    assert received(call) == ["agent: For how many?", "caller: For four.", "agent: On what day?"]


def test_the_messages_of_one_simulated_user_call_are_bounded() -> None:
    conversation = Conversation().greeted()
    for number in range(70):
        conversation.exchange(f"Message {number}.", "x" * 2_000)
    conversation.timeline = start_simulation(conversation.timeline, CONFIG, at=conversation.tick())
    _, utterances = utterances_since_last_call(conversation.timeline)
    assert sum(len(each.text) for each in utterances) <= 60_000
    assert [each.text for each in utterances][-2] == "Message 69."


def test_another_simulated_user_receives_the_whole_conversation() -> None:
    call = Call()
    call.message("A table, please.", "For how many?")
    call.switch(enabled=True, config=CONFIG.model_copy(update={"goal": "Cancel it."}))
    assert utterances_since_last_call(call.timeline)[0] is None
    assert received(call) == ["agent: Good evening.", "caller: A table, please.", "agent: For how many?"]


def test_an_opening_is_sent_first_and_once() -> None:
    call = Call(CONFIG.model_copy(update={"opening": "Good evening!"}))
    opening = opening_message(call.timeline)
    assert opening is not None
    assert opening[0] == "Good evening!"
    call.timeline = send_caller_message(call.timeline, *opening, turn_id="t9", at=call.tick())
    call.answer(turn_id="t9")
    assert opening_message(call.timeline) is None
    assert received(call)[-2:] == ["caller: Good evening!", "agent: Certainly."]


def test_a_simulated_user_call_id_depends_on_the_state_that_it_answers() -> None:
    call = Call()
    same = next_call_id(call.timeline, "ses_1")
    assert same == next_call_id(Call().timeline, "ses_1")
    assert same != next_call_id(call.timeline, "ses_2")
    call.message("A table, please.")
    assert same != next_call_id(call.timeline, "ses_1")


def test_costs_of_all_kinds_count() -> None:
    call = Call(limited(max_cost_usd="1"))
    call.timeline = call.timeline.model_copy(
        update={"cost": call.timeline.cost.model_copy(update={"total": Decimal(1)})}
    )
    assert call.next_action() == "caller_max_cost"


def received(call: Conversation) -> list[str]:
    return [f"{each.by}: {each.text}" for each in utterances_since_last_call(call.timeline)[1]]
