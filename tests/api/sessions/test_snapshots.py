"""A snapshot extended by a reply equals the workflow's own answer, for any mix of commands."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from api.sessions.snapshots import LatestSnapshots, Snapshot
from contracts.sessions import SendMessageResult
from domain.agents.definition import Limits, parse_definition
from domain.rejections import CommandRejected
from domain.sessions import command_handlers as rules
from domain.sessions import timeline, turn_completion
from domain.sessions.commands import EndSession, Rewind, SendMessage
from domain.sessions.timeline import Timeline
from domain.sessions.views import head_of, view_of
from domain.turns.engine import TurnProgress
from domain.turns.turn import Turn
from domain.usage import Usage
from tests.support.api_agents import library

AGENT = parse_definition(library())
START = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
LIMITS = Limits(max_turns=12)


class Conversation:
    """A session without a workflow: the rules, a clock that ticks, and the snapshots that an API process keeps."""

    def __init__(self) -> None:
        self.ticks = 0
        self.timeline = rules.new_timeline(at=START)
        self.timeline = rules.open_greeting(self.timeline, turn_id="turn_0", at=self.now())
        self.latest = LatestSnapshots()
        self.waiting: dict[str, tuple[int, SendMessage]] = {}
        self.extended = 0

    def now(self) -> datetime:
        self.ticks += 1
        return START + timedelta(seconds=self.ticks)

    def send(self, *, enqueue: bool) -> None:
        turn_id = f"turn_{self.ticks}"
        command = SendMessage(text=turn_id, message_id=turn_id, on_busy="enqueue" if enqueue else None)
        before = self.timeline.version
        self.apply(lambda timeline: rules.send(timeline, command, turn_id=turn_id, at=self.now()))
        if self.timeline.version != before:
            self.waiting[turn_id] = (before, command)

    def close(self, place: int, outcome: str) -> None:
        if not self.timeline.pending:
            return
        turn_id = self.timeline.pending[place % len(self.timeline.pending)]
        progress = TurnProgress(turn_id=turn_id, node_id="desk", said=("Yes.",), usage=Usage(), error="broken")
        rule = {
            "complete": turn_completion.complete,
            "fail": turn_completion.fail,
            "interrupt": turn_completion.interrupt,
        }[outcome]
        self.apply(lambda timeline: rule(timeline, progress, LIMITS, at=self.now()))
        for answered in [each for each in self.waiting if self.timeline.is_closed(each)]:
            version, command = self.waiting.pop(answered)
            if answered in self.timeline.turns:
                self.answered(self.timeline.turns[answered], version, command)

    def answered(self, turn: Turn, version: int, command: SendMessage) -> None:
        """Extend the snapshot by a result, and check that it equals the workflow's own answer."""
        head = head_of(self.timeline, AGENT, "run")
        bare = turn.model_copy(update={"user_message": None, "checkpoint": None})
        result = SendMessageResult(turn=bare, head=head, previous_version=version)
        known = self.latest.get("ses")
        extended = known.after(result, turn) if known else None
        asked = self.asked()
        if extended is not None:
            self.extended += 1
            assert (extended.head, extended.turns, extended.branches) == (asked.head, asked.turns, asked.branches)
            assert (extended.newest_id, extended.newest_status) == (asked.newest_id, asked.newest_status)
            assert extended.as_of == head.updated_at
        self.latest.keep("ses", extended or asked)

    def asked(self) -> Snapshot:
        return Snapshot.of(view_of(self.timeline, AGENT, "run"), as_of=self.now())

    def apply(self, rule: Callable[[Timeline], Timeline]) -> None:
        try:
            self.timeline = rule(self.timeline)
        except CommandRejected as refused:
            if self.ticks % 3 == 0:  # some rejections are recorded, as those of signals are
                self.timeline = timeline.record_rejection(
                    self.timeline, "signal", refused.rejection, None, at=self.now()
                )


COMMANDS = st.one_of(
    st.tuples(st.just("send"), st.booleans()),
    st.tuples(st.just("close"), st.tuples(st.integers(0, 3), st.sampled_from(["complete", "fail", "interrupt"]))),
    st.tuples(st.just("say"), st.just(None)),
    st.tuples(st.just("rewind"), st.tuples(st.integers(0, 20), st.booleans())),
    st.tuples(st.just("clear"), st.just(None)),
    st.tuples(st.just("read"), st.just(None)),
    st.tuples(st.just("end"), st.just(None)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(COMMANDS, max_size=30))
def test_a_snapshot_extended_by_a_reply_equals_a_query(commands: list[tuple[str, object]]) -> None:
    conversation = Conversation()
    for command in commands:
        apply_command(conversation, command)


def apply_command(conversation: Conversation, command: tuple[str, object]) -> None:
    match command:
        case ("send", bool(enqueue)):
            conversation.send(enqueue=enqueue)
        case ("close", (int(place), str(outcome))):
            conversation.close(place, outcome)
        case ("say", _):
            conversation.send(enqueue=False)
            conversation.close(len(conversation.timeline.pending) - 1, "complete")
        case ("rewind", (int(place), bool(before))):
            turn_ids = list(conversation.timeline.turns)
            to = Rewind(turn_id=turn_ids[place % len(turn_ids)], before=before)
            conversation.apply(lambda timeline: rules.rewind(timeline, to, at=conversation.now()))
        case ("clear", _):
            conversation.apply(lambda timeline: rules.rewind(timeline, Rewind(turn_id=None), at=conversation.now()))
        case ("read", _):
            conversation.latest.keep("ses", conversation.asked())
        case ("end", _):
            conversation.apply(lambda timeline: rules.end(timeline, EndSession(), at=conversation.now()))


def test_a_plain_conversation_needs_no_query() -> None:
    conversation = Conversation()
    conversation.close(0, "complete")
    apply_command(conversation, ("read", None))
    for _ in range(8):
        apply_command(conversation, ("say", None))
    assert conversation.extended == 8


def test_snapshots_are_kept_within_their_memory() -> None:
    conversation = Conversation()
    snapshot = conversation.asked()
    latest = LatestSnapshots(max_bytes=3 * snapshot.size)
    for session_id in ("a", "b", "c", "a", "d"):
        latest.keep(session_id, snapshot)
    assert [latest.get(session_id) is not None for session_id in "abcd"] == [True, False, True, True]


def test_an_older_snapshot_does_not_replace_a_newer_one() -> None:
    conversation = Conversation()
    older = conversation.asked()
    conversation.close(0, "complete")
    newer = conversation.asked()
    latest = LatestSnapshots()
    latest.keep("ses", newer)
    latest.keep("ses", older)
    assert latest.get("ses") is newer
