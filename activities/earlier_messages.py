"""The messages of earlier steps that a model call sends along: as many as fit into the limit of its request."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from temporalio.exceptions import ApplicationError

from contracts.sessions import HISTORY_MISSING
from domain.turns.context_window import (
    ContextCut,
    ContextFit,
    EarlierTurn,
    TokenRate,
    earlier_turn,
    frame_size,
    messages_size,
)
from domain.turns.model_request import RequestFrame, RequestMessage, SentRequest
from domain.turns.summaries import DUE_SHARE, RECENT_SHARE, Summary, SummaryPoint
from domain.usage import ModelUsage

if TYPE_CHECKING:
    from store.sessions.step_cache import SavedStep, SavedTurn, TurnSteps
    from store.sessions.steps import StepStore

COUNTED_FROM = (1, 2)
"""Share of the limit above which an estimate is replaced by the provider's count, if it can count."""
SHRUNK_TO = (3, 4)
"""The limit after a provider rejected a request as too long, as a share of what was sent."""

CountTokens = Callable[[tuple[str, ...]], Awaitable[int | None]]
"""Asks the provider for the tokens of the request with these earlier messages; None if it cannot count."""


@dataclass(frozen=True)
class NewPart:
    """The part of a request that no cut leaves out: its frame, and the new messages."""

    frame: RequestFrame
    messages: Sequence[RequestMessage] = ()

    @property
    def opens(self) -> bool:
        """True if the new messages can be the first that a model sees."""
        return not self.messages or self.messages[0].role == "user"


async def no_count(_: tuple[str, ...]) -> None:
    """Return None: there is no provider that counts."""


class EarlierMessages:
    """The messages of the steps before a call: those of its own turn, and those of the turns before that fit."""

    def __init__(self, steps: "StepStore", session_id: str, model: str, turn: "TurnSteps") -> None:
        self._steps = steps
        self._session_id = session_id
        self._model = model
        self._own = turn.preceding()
        self._after = self._own[0].after if self._own else turn.after
        self._lowered: int | None = None
        self._limit = 0
        self._size = 0
        self._new: NewPart | None = None
        self._weights: tuple[EarlierTurn, ...] = ()
        self._compacts = False
        self._summary: Summary | None = None
        self._rate = TokenRate.estimate()
        self._cut: ContextCut | None = None
        self._read: tuple[SavedTurn, ...] = ()

    @property
    def steps(self) -> "tuple[SavedStep, ...]":
        """The steps whose messages are sent, oldest first."""
        kept = self._read[: self._cut.turns] if self._cut else ()
        return (*(step for turn in reversed(kept) for step in turn.steps), *self._own)

    @property
    def cut(self) -> ContextCut | None:
        """The cut that was made, if any."""
        return self._cut

    @property
    def limit(self) -> int:
        """The limit in tokens that the cut was made for."""
        return self._limit

    @property
    def size(self) -> int:
        """The bytes of the whole request."""
        return self._size

    @property
    def budget(self) -> int:
        """The characters of the earlier turns that are sent, as they are stored."""
        return sum(turn.characters for turn in self._read[: self._cut.turns]) if self._cut else 0

    @property
    def summary(self) -> Summary | None:
        """The summary that stands in for what is left out, if there is one."""
        return self._summary

    async def fit(
        self, new: NewPart, limit: int, count: CountTokens = no_count, *, compacts: bool = False
    ) -> tuple[str, ...]:
        """The messages of the earlier steps that fit into the limit beside what is new, oldest first.

        The turn's own steps are always among them. With `compacts` the newest summary of the branch takes the place of
        what is left out: it is `summary` afterwards, and stays until the cut moves again. Raises a non-retryable
        ApplicationError of type `history_missing` when the store has lost a step: the workflow puts the turns back.
        """
        self._new, self._compacts = new, compacts
        self._limit = limit if self._lowered is None else min(limit, self._lowered)
        newest = await self._newest_step()
        self._rate = _rate_of(newest, self._model)
        sent = newest.sent if newest else None
        if compacts and sent is not None and sent.summary is not None:
            point = SummaryPoint(digest=sent.summary, turn_id=sent.summary_turn_id or "")
            text = (await self._steps.summaries(self._session_id, [point.digest])).get(point.digest)
            self._summary = None if text is None else Summary(point, text)
        cut = await self._make_cut(new, newest)
        share, of = COUNTED_FROM
        if self._rate.counted_by == "estimate" and cut.tokens * of > self._limit * share:
            counted = await count(self._messages())
            if counted is not None:
                self._rate = TokenRate.counted(counted, self._size)
                cut = await self._make_cut(new, newest)
        if compacts and (self._has_moved(cut, sent) or self._has_gap):
            await self._take_newest_summary(new, newest)
        return self._messages()

    async def due_summary(self) -> SummaryPoint | None:
        """The end of the summary that should be written now, before the cut moves; None if there is no need yet."""
        cut = self._cut if self._compacts else None
        share, of = DUE_SHARE
        if cut is None or not cut.turns or (cut.tokens * of < self._limit * share and not self._has_gap):
            return None
        share, of = RECENT_SHARE
        covered, size = None, 0
        for place, turn in enumerate(self._read[: cut.turns]):
            if self._opens_at(place):
                covered = turn
            size += self._weights[place].size
            if self._rate.of(size) * of > self._limit * share and covered is not None:
                break
        if covered is None or await self._steps.summaries(
            self._session_id, [turn.digest for turn in self._read[: cut.turns]]
        ):
            return None
        return SummaryPoint(digest=covered.digest, turn_id=covered.steps[0].turn_id)

    @property
    def _has_gap(self) -> bool:
        """True if turns are left out that no summary stands in for."""
        return self._cut is not None and self._cut.left_out != 0 and self._summary is None

    def _has_moved(self, cut: ContextCut, sent: SentRequest | None) -> bool:
        return cut.left_out != (sent.left_out if sent else 0)

    async def _take_newest_summary(self, new: NewPart, newest: "SavedStep | None") -> None:
        """Let the newest summary of the branch stand in for what it covers.

        The cut goes to where it ends if everything since then fits beside it. Otherwise the cut stays, and some turns
        between both are missing until the next summary covers them.
        """
        cut = self._cut
        assert cut is not None, "the cut is made before"
        covered = await self._newest_summary()
        if covered is None:
            return
        place, self._summary = covered
        since = sum(weight.size for weight in self._weights[:place])
        size = self._fixed(new) + _block_size(self._summary) + since
        if not self._opens_at(place) or self._rate.of(size) > self._limit:
            await self._make_cut(new, newest)
            return
        left_out = None if cut.left_out is None else cut.left_out + cut.turns - place
        self._size = size
        self._cut = ContextCut(place, left_out, self._rate.of(size), self._rate.counted_by)

    async def _newest_summary(self) -> tuple[int, Summary] | None:
        """The newest summary of the branch, after the number of turns since its end; older turns are read for it."""
        await self._read_on(2 * self._limit)
        texts = await self._steps.summaries(self._session_id, [turn.digest for turn in self._read])
        for place, turn in enumerate(self._read):
            if turn.digest in texts:
                point = SummaryPoint(digest=turn.digest, turn_id=turn.steps[0].turn_id)
                return place, Summary(point, texts[turn.digest])
        return None

    async def _read_on(self, tokens: int) -> None:
        """Read older turns than the cut needed, up to `tokens`."""
        read, weights = list(self._read), list(self._weights)
        size = sum(weight.size for weight in weights)
        after = read[-1].after if read else self._after
        async with aclosing(self._steps.turns_before(self._session_id, after)) as turns:
            while self._rate.of(size) <= tokens and (turn := await _next_of(turns)) is not None:
                read.append(turn)
                weights.append(earlier_turn(step.messages for step in turn.steps))
                size += weights[-1].size
        self._read, self._weights = tuple(read), tuple(weights)

    def _opens_at(self, place: int) -> bool:
        """True if the turns newer than the one at this place may come first."""
        if place:
            return self._weights[place - 1].opens
        return self._own_turn.opens if self._own else self._new is None or self._new.opens

    def _fixed(self, new: NewPart) -> int:
        return frame_size(new.frame) + messages_size(new.messages) + self._own_turn.size

    @property
    def _own_turn(self) -> EarlierTurn:
        return earlier_turn(step.messages for step in self._own)

    async def shrink(self) -> bool:
        """Lower the limit for a request that was rejected as too long. False if no earlier turn can be left out."""
        if self._cut is None or self._new is None or not self._cut.turns:
            return False
        before = self._cut
        share, of = SHRUNK_TO
        self._lowered = self._limit = min(before.tokens, self._limit) * share // of
        cut = await self._make_cut(self._new, await self._newest_step())
        return cut.turns < before.turns

    def _messages(self) -> tuple[str, ...]:
        return tuple(step.messages for step in self.steps)

    async def _make_cut(self, new: NewPart, newest: "SavedStep | None") -> ContextCut:
        sent = newest.sent if newest else None
        fixed = self._fixed(new) + (_block_size(self._summary) if self._summary else 0)
        fit = ContextFit(
            limit=self._limit,
            fixed=fixed,
            rate=self._rate,
            opens=self._own_turn.opens if self._own else new.opens,
            since=None if sent is None or sent.turns is None else sent.turns + (0 if self._own else 1),
            left_out=sent.left_out if sent else None,
        )
        read: list[SavedTurn] = []
        weights: list[EarlierTurn] = []
        async with aclosing(self._steps.turns_before(self._session_id, self._after)) as turns:
            while fit.needs_more:
                turn = await _next_of(turns)
                if turn is None:
                    fit.end()
                    break
                weighed = earlier_turn(step.messages for step in turn.steps)
                fit.add(weighed)
                read.append(turn)
                weights.append(weighed)
        self._cut, self._read, self._weights = fit.cut, tuple(read), tuple(weights)
        self._size = fixed + sum(weight.size for weight in weights[: self._cut.turns])
        return self._cut

    async def _newest_step(self) -> "SavedStep | None":
        if self._own:
            return self._own[-1]
        async with aclosing(self._steps.turns_before(self._session_id, self._after)) as turns:
            newest = await _next_of(turns)
        return newest.steps[-1] if newest else None


async def _next_of(turns: "AsyncIterator[SavedTurn]") -> "SavedTurn | None":
    """The next older turn; None where there is none. A gap fails the step: the workflow puts the turns back."""
    try:
        return await anext(turns, None)
    except LookupError as error:
        raise ApplicationError(str(error), type=HISTORY_MISSING, non_retryable=True) from None


def _rate_of(step: "SavedStep | None", model: str) -> TokenRate:
    """The rate that the provider's count for the step before gives; an estimate where there is none."""
    if step is None or step.sent is None or step.sent.size is None or step.model != model or step.reply.estimated:
        return TokenRate.estimate()
    used = sum(step.reply.usage.llm.values(), ModelUsage())
    return TokenRate.counted(used.prompt_tokens, step.sent.size)


def _block_size(summary: Summary) -> int:
    return messages_size([RequestMessage(role="system", content=summary.block)])
