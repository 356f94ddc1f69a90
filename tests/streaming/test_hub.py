"""Who watches is told what is said: whole, however it came, and never twice."""

import json

from hypothesis import given
from hypothesis import strategies as st

from api.streams.cursor import StreamCursor
from domain.turns.turn import AssistantMessage, Turn
from streaming.hub import LiveHub
from streaming.messages import TextDelta
from tests.support.conversation import BEGINNING

SESSION, TURN = "ses_1", "turn_1"


def spoken(text: str, *, offset: int = 0, step: int = 0, attempt: int = 1, base: int = 0) -> TextDelta:
    return TextDelta(TURN, (step, attempt), base, offset, text)


async def test_pieces_make_a_whole_and_may_come_twice() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        for piece in (spoken("Hel"), spoken("lo", offset=3), spoken("lo", offset=3), spoken("Hello"), spoken("Hel")):
            hub.speak(SESSION, piece)
        assert watch.voices() == {TURN: "Hello"}


async def test_a_piece_after_a_gap_waits_until_everything_is_told_again() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        hub.speak(SESSION, spoken("lo", offset=3))
        assert watch.voices() == {TURN: ""}
        hub.speak(SESSION, spoken("Hello there"))
        assert watch.voices() == {TURN: "Hello there"}


async def test_a_later_attempt_begins_where_earlier_steps_have_ended() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch:
        hub.speak(SESSION, spoken("One moment.\nWe op", step=1, base=11))
        hub.speak(SESSION, spoken("One moment.", step=1, attempt=2, base=11))
        assert watch.voices() == {TURN: "One moment."}
        hub.speak(SESSION, spoken("\nToo late.", offset=17, step=1, attempt=1, base=11))
        assert watch.voices() == {TURN: "One moment."}


async def test_news_wakes_only_those_who_watch_that_session() -> None:
    hub = LiveHub()
    with hub.watch(SESSION) as watch, hub.watch("ses_2") as other:
        hub.log_grew(SESSION)
        assert await watch.news(within=0)
        assert not await other.news(within=0)


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


def told(pieces: list[bytes]) -> str:
    """What somebody hears of the turn who takes deltas and resets at their word."""
    heard = ""
    for piece in pieces:
        lines = dict(line.split(": ", 1) for line in piece.decode().strip().split("\n"))
        text = json.loads(lines["data"])["text"]
        heard = text if lines["event"] == "reply_reset" else heard + text
    return heard


@given(st.lists(st.text(max_size=6), max_size=6), st.text(max_size=12), st.booleans())
def test_what_is_told_adds_up_to_the_text_whatever_was_said_on_the_way(
    texts: list[str], final: str, has_begun: bool
) -> None:
    telling = StreamCursor(0)
    if has_begun:
        telling.began(TURN)
    pieces = [piece for text in texts for piece in telling.words({TURN: text})]
    if pieces or has_begun:
        assert told(pieces) == (texts[-1] if texts else "")
    answered = Turn(
        id=TURN,
        parent_id=None,
        index=0,
        status="completed",
        created_at=BEGINNING,
        assistant_message=AssistantMessage(text=final, created_at=BEGINNING),
    )
    pieces += telling.rest(answered)
    if has_begun or texts:
        assert told(pieces) == final
    assert list(telling.words({TURN: "late"})) == [], "nothing is told of a turn that is over"
