"""Live delivery in one process: watchers get the whole text, in any order of deltas, and no event twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from api.schemas.events import ReplyDelta, ReplyReset
from api.streams.cursor import StreamCursor
from api.streams.event_log import StreamEvent
from contracts.sessions import TurnStart
from domain.turns.turn import AssistantMessage, Turn
from streaming.hub import LiveHub
from streaming.messages import TextDelta
from tests.support.conversation import BEGINNING

SESSION, TURN = "ses_1", "turn_1"
OPENING = TurnStart(parent_id=None, index=0, created_at=BEGINNING, message_id="m-1")


def delta(text: str, *, offset: int = 0, step: int = 0, attempt: int = 1, base: int = 0) -> TextDelta:
    return TextDelta(TURN, (step, attempt), base, offset, text)


async def test_repeated_deltas_are_merged_into_one_text() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        for piece in (delta("Hel"), delta("lo", offset=3), delta("lo", offset=3), delta("Hello"), delta("Hel")):
            hub.publish_delta(SESSION, piece)
        assert watch.streamed_texts() == {TURN: "Hello"}


async def test_a_delta_after_a_gap_is_ignored_until_the_whole_text_is_sent() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        hub.publish_delta(SESSION, delta("lo", offset=3))
        assert watch.streamed_texts() == {TURN: ""}
        hub.publish_delta(SESSION, delta("Hello there"))
        assert watch.streamed_texts() == {TURN: "Hello there"}


async def test_a_later_attempt_begins_where_earlier_steps_have_ended() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        hub.publish_delta(SESSION, delta("One moment.\nWe op", step=1, base=11))
        hub.publish_delta(SESSION, delta("One moment.", step=1, attempt=2, base=11))
        assert watch.streamed_texts() == {TURN: "One moment."}
        hub.publish_delta(SESSION, delta("\nToo late.", offset=17, step=1, attempt=1, base=11))
        assert watch.streamed_texts() == {TURN: "One moment."}


async def test_words_are_kept_apart_until_the_start_of_their_turn_is_logged() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        assert watch.take_log_growth(), "the log is read once at the beginning"
        early = TextDelta(TURN, (0, 1), 0, 0, "Hello", opening=OPENING, is_logged=False)
        hub.publish_delta(SESSION, early)
        assert watch.streamed_texts() == {}
        assert [(each.text, each.opening) for each in watch.streams().values()] == [("Hello", OPENING)]
        assert not watch.take_log_growth()
        hub.publish_delta(SESSION, TextDelta(TURN, (0, 1), 0, 5, ""))
        assert watch.streamed_texts() == {TURN: "Hello"}
        assert watch.take_log_growth()


async def test_log_growth_wakes_only_the_watchers_of_its_session() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch, hub.watch("ses_2") as other:
        hub.log_appended(SESSION)
        assert await watch.wait(within=0)
        assert not await other.wait(within=0)


async def test_a_session_is_watched_as_long_as_one_is_left() -> None:
    hub = LiveHub()
    came: list[str] = []
    left: list[str] = []
    hub.on_first_watcher, hub.on_last_watcher = came.append, left.append
    with hub.watch(SESSION):
        with hub.watch(SESSION):
            pass
        assert hub.is_watched(SESSION)
        assert left == []
    assert not hub.is_watched(SESSION)
    assert (came, left) == ([SESSION], [SESSION])


def text_in(events: list[StreamEvent]) -> str:
    """The text that a client has after these deltas and resets."""
    text = ""
    for event in events:
        assert isinstance(event.data, ReplyDelta | ReplyReset)
        text = event.data.text if isinstance(event.data, ReplyReset) else text + event.data.text
    return text


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), max_size=6), st.text(max_size=12), st.booleans())
def test_the_deltas_add_up_to_the_final_text(texts: list[str], final: str, has_begun: bool) -> None:
    cursor = StreamCursor(0)
    if has_begun:
        cursor.start_turn(TURN)
    events = [event for text in texts for event in cursor.replies({TURN: text})]
    if events or has_begun:
        assert text_in(events) == (texts[-1] if texts else "")
    answered = Turn(
        id=TURN,
        parent_id=None,
        index=0,
        status="completed",
        created_at=BEGINNING,
        assistant_message=AssistantMessage(text=final, created_at=BEGINNING),
    )
    events += cursor.close_turn(answered)
    if has_begun or texts:
        assert text_in(events) == final
    assert list(cursor.replies({TURN: "late"})) == [], "nothing is sent for a turn that is over"
