"""The model's message history over many turns: complete, without repeats, and no tool call without a result."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.turns.engine import ExtractionResult, ModelReply, TurnProgress, start_checkpoint
from domain.turns.turn import AgentSaid, Message, ToolReturned, UserSaid
from tests.domain.turns.answering import AT, DESK, after, asked, calling, digest_of, learning, returning


@dataclass
class SavedSteps:
    """Steps as the store keeps them: by digest, each with the one before it, its request and its reply.

    The messages of extractions are not part of the conversation.
    """

    of: dict[str, tuple[str, tuple[Message | ModelReply, ...]]] = field(default_factory=dict)

    def save(self, progress: TurnProgress, *messages: Message | ModelReply) -> None:
        digest = digest_of(progress)
        assert digest not in self.of, "a step goes by a number that an earlier one has"
        self.of[digest] = (progress.after, messages)

    def read_by_the_model(self, progress: TurnProgress) -> list[Message | ModelReply]:
        """Everything a model call of this turn reads, oldest first."""
        newest_first = []
        after = progress.after
        while after:
            after, messages = self.of[after]
            newest_first.append(messages)
        return [*(message for messages in newest_first[::-1] for message in messages), *progress.messages]


@dataclass
class Desk:
    """Plays the replies of a model: saves them, runs their tools, and extracts the variables of the nodes."""

    replies: list[tuple[str, list[str]]]
    extractions: list[bool]
    steps: SavedSteps
    expected: list[str]
    patience: int

    def answer(self, progress: TurnProgress) -> TurnProgress:
        """Advance a turn until the replies run out, or after `patience` steps."""
        while progress.next_step and self.patience:
            self.patience -= 1
            match progress.next_step:
                case "reply":
                    if not self.replies:
                        break
                    progress = self._reply(progress)
                case "tools":
                    progress = returning(progress, f"What {progress.calls[0].id} brought.")
                case "extraction":
                    progress = self._extract(progress)
        return progress

    def _reply(self, progress: TurnProgress) -> TurnProgress:
        read = self.steps.read_by_the_model(progress)
        assert_providers_would_take(read)
        texts = Counter(each.text for each in read if isinstance(each, UserSaid | AgentSaid))
        assert texts == Counter(self.expected)
        text, names = self.replies.pop()
        # Ids that are unique within the reply and not beyond it, as some providers give them.
        reply = calling(*names, text=text)
        self.steps.save(progress, *progress.messages, reply)
        return after(progress, reply, agent=DESK)

    def cut(self, progress: TurnProgress) -> TurnProgress:
        """Stop a turn; the text of a pending reply so far is saved."""
        if progress.next_step == "reply" and self.extractions:
            self.steps.save(progress, *progress.messages, ModelReply(text="I was ab", interrupted=True))
            progress = after(progress, ModelReply(text="I was ab", interrupted=True), agent=DESK)
        return progress.stopped(at=AT)

    def _extract(self, progress: TurnProgress) -> TurnProgress:
        if self.extractions and self.extractions.pop():
            return learning(progress, ExtractionResult(error="The model is away."))
        self.steps.save(progress)
        return learning(progress, guests=4)


def assert_providers_would_take(read: list[Message | ModelReply]) -> None:
    """Check that every tool call has one result before the next message of the model or the user."""
    unanswered: list[str] = []
    for each in read:
        if isinstance(each, ToolReturned):
            assert each.call_id in unanswered, f"a return without its call: {each}"
            unanswered.remove(each.call_id)
        else:
            assert not unanswered, f"calls {unanswered} were never answered"
            unanswered = [call.id for call in each.tool_calls] if isinstance(each, ModelReply) else []
    assert not unanswered


def assert_events_pair_up(progress: TurnProgress) -> None:
    """Every call that was started has a result, and nothing else has one."""
    started, ended = (
        Counter(event.payload["call_id"] for event in progress.events if event.type == kind)
        for kind in ("tool_call_started", "tool_call_result")
    )
    assert started == ended


TOOLS = ["to_booking", "bye", "wait", "again", "find_table", "check_menu", "crm__find", "unknown"]
REPLIES = st.lists(
    st.tuples(st.sampled_from(["", "", "Certainly.", "One moment."]), st.lists(st.sampled_from(TOOLS), max_size=4)),
    max_size=12,
)
PATIENCE = st.sampled_from([1, 2, 3, 4, 99, 99])
TURNS = st.lists(st.tuples(st.integers(0, 8), REPLIES, st.lists(st.booleans(), max_size=4), PATIENCE), max_size=8)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(turns=TURNS)
def test_model_reads_every_word_of_its_branch_once_and_no_unanswered_tool_call(
    turns: list[tuple[int, list[tuple[str, list[str]]], list[bool], int]],
) -> None:
    """Turns continue from any earlier one, and fail or are stopped in the middle; each reply has its own tool calls."""
    steps = SavedSteps()
    words: list[list[str]] = [[]]
    checkpoints = [start_checkpoint(DESK)]
    for number, (pick, replies, extractions, patience) in enumerate(turns, start=1):
        place = pick % len(checkpoints)
        expected = [*words[place], f"message {number}"]
        progress = asked(f"message {number}", checkpoint=checkpoints[place], turn_id=f"t{number}", agent=DESK)
        desk = Desk(replies, extractions, steps, expected, patience)
        progress = desk.answer(progress)
        if progress.next_step:
            stopped = desk.cut(progress)
            assert_events_pair_up(stopped)
            checkpoints.append(stopped.checkpoint())
            words.append(expected)
        if progress.outcome in ("answered", "ended"):
            assert_events_pair_up(progress)
            checkpoints.append(progress.checkpoint())
            words.append([*expected, *(each.text for each in progress.messages if isinstance(each, AgentSaid))])
