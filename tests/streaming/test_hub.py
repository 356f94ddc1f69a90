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


def spoken(text: str, *, offset: int = 0, step: int = 0, attempt: int = 1, base: int = 0) -> TextDelta:
    return TextDelta(TURN, (step, attempt), base, offset, text)


async def test_pieces_make_a_whole_and_may_come_twice() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        for piece in (spoken("Hel"), spoken("lo", offset=3), spoken("lo", offset=3), spoken("Hello"), spoken("Hel")):
            hub.publish_delta(SESSION, piece)
        assert watch.streamed_texts() == {TURN: "Hello"}


async def test_a_piece_after_a_gap_waits_until_everything_is_told_again() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        hub.publish_delta(SESSION, spoken("lo", offset=3))
        assert watch.streamed_texts() == {TURN: ""}
        hub.publish_delta(SESSION, spoken("Hello there"))
        assert watch.streamed_texts() == {TURN: "Hello there"}


async def test_a_later_attempt_begins_where_earlier_steps_have_ended() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        hub.publish_delta(SESSION, spoken("One moment.\nWe op", step=1, base=11))
        hub.publish_delta(SESSION, spoken("One moment.", step=1, attempt=2, base=11))
        assert watch.streamed_texts() == {TURN: "One moment."}
        hub.publish_delta(SESSION, spoken("\nToo late.", offset=17, step=1, attempt=1, base=11))
        assert watch.streamed_texts() == {TURN: "One moment."}


async def test_words_that_come_before_the_log_has_their_turn_are_apart_until_it_has() -> None:
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


async def test_news_wakes_only_those_who_watch_that_session() -> None:
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
def test_what_is_told_adds_up_to_the_text_whatever_was_said_on_the_way(
    texts: list[str], final: str, has_begun: bool
) -> None:
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
    assert list(cursor.replies({TURN: "late"})) == [], "nothing is told of a turn that is over"
