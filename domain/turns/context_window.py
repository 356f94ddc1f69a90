"""The part of a conversation that a request to a model holds: as many earlier turns as fit into a limit of tokens.

Older turns are left out at the border of a turn, never in the middle of one. The cut does not move with every message:
once the limit is reached it jumps, so that a third of the limit is free again, and stays there until that is used up.
Requests between two jumps begin with the same messages, which providers have in their prompt caches. Each step keeps
the cut of its request, and the next one on the same branch goes on from it; so a cut depends on the branch alone, and
a branch that begins at an earlier turn has the cut that was made there.

Tokens are counted with the provider's figures: the tokens that it reported for the step before, over the bytes of that
request, give the tokens of every part. Without such a figure they are estimated.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, Self

from domain.turns.model_request import RequestFrame, RequestMessage, TokenCount, saved_messages

BYTES_PER_TOKEN = 4
"""Bytes of UTF-8 for one token, where no provider has counted: a rough average, also for other scripts than Latin."""
MESSAGE_BYTES = 16
"""Bytes for the role of a message and what separates it from others: some four tokens with every provider."""
MAX_TOKENS_PER_BYTE = 1
"""Upper bound on a reported rate; a higher one is not from the text that was sent."""
MIN_TOKENS_PER_BYTE = (1, 40)
"""Lower bound on a reported rate, as a fraction."""
KEPT_SHARE = (2, 3)
"""Share of the limit that is filled after a jump."""
REPLY_SHARE = 8
"""One part in so many of a model's window is left for the reply; the limit is the rest."""


class TokenRate(NamedTuple):
    """Tokens per byte, as a fraction, and the origin of the count."""

    tokens: int
    size: int
    counted_by: TokenCount

    def of(self, size: int) -> int:
        """The tokens of so many bytes, rounded up."""
        return -(-size * self.tokens // self.size)

    @classmethod
    def estimate(cls) -> Self:
        """The rate without a provider's count."""
        return cls(1, BYTES_PER_TOKEN, "estimate")

    @classmethod
    def counted(cls, tokens: int, size: int) -> Self:
        """The rate of a request of `size` bytes for which a provider counted `tokens`; an estimate without a count."""
        if tokens <= 0 or size <= 0:
            return cls.estimate()
        least, of = MIN_TOKENS_PER_BYTE
        return cls(min(max(tokens * of, size * least), size * of * MAX_TOKENS_PER_BYTE), size * of, "provider")


class EarlierTurn(NamedTuple):
    """A turn before the one that is answered. `opens` is false if it cannot be the first turn of a request.

    That is so if it does not begin with a user's message: its first messages may be results of calls that the turn
    before it made.
    """

    size: int
    opens: bool


class ContextCut(NamedTuple):
    """The earlier turns of a request: the newest `turns` of the branch. `left_out` counts those before them.

    It is None where that is not known: the step before has no cut, and the branch was not read to its beginning.
    `tokens` is the size of the request as it was counted.
    """

    turns: int
    left_out: int | None
    tokens: int
    counted_by: TokenCount


def context_limit(own: int | None, default: int, window: int | None) -> int:
    """The limit of an agent, or else the installation's; never more than the model's window has beside a reply."""
    limit = default if own is None else own
    return limit if window is None else min(limit, window - window // REPLY_SHARE)


class ContextFit:
    """Takes the earlier turns of a branch, newest first, until it is known which of them a request holds.

    `fixed` are the bytes that every request has: instructions, tools, and the messages of the turn itself;
    `opens` is true if these can come first. `since` is the number of turns between the present turn and the cut of the
    step before, with `left_out` turns before that cut; it is None where that step has no cut.
    """

    def __init__(
        self,
        *,
        limit: int,
        fixed: int,
        rate: TokenRate,
        opens: bool = True,
        since: int | None = None,
        left_out: int | None = None,
    ) -> None:
        self._limit = limit
        self._rate = rate
        self._since = since
        self._left_out = left_out
        self._size = fixed
        self._taken = 0
        self._sizes = [fixed]
        self._jump: int | None = 0 if opens else None
        self._is_complete = False

    @property
    def needs_more(self) -> bool:
        """True while the next older turn is needed for the cut."""
        if self._is_over:
            return self._jump is None
        return self._taken != self._since

    def add(self, turn: EarlierTurn) -> None:
        """Take the next older turn."""
        self._size += turn.size
        self._sizes.append(self._size)
        self._taken += 1
        share, of = KEPT_SHARE
        is_after_a_jump = self._rate.of(self._size) * of <= self._limit * share
        if turn.opens and (is_after_a_jump or self._jump is None):
            self._jump = self._taken

    def end(self) -> None:
        """Record that there is no older turn."""
        self._is_complete = True

    @property
    def cut(self) -> ContextCut:
        """The cut, once no more turns are needed."""
        turns = self._taken
        if self._is_over and self._jump is not None:
            turns = self._jump
        tokens = self._rate.of(self._sizes[turns])
        return ContextCut(turns, self._left_out_by(turns), tokens, self._rate.counted_by)

    @property
    def _is_over(self) -> bool:
        return self._rate.of(self._size) > self._limit

    def _left_out_by(self, turns: int) -> int | None:
        if self._since is not None and self._left_out is not None:
            return self._left_out + self._since - turns
        return self._taken - turns if self._is_complete else None


def frame_size(frame: RequestFrame) -> int:
    """The bytes of a request's instructions, tools and settings."""
    tools = sum(
        _bytes(tool.name) + _bytes(tool.description) + len(json.dumps(tool.parameters)) + MESSAGE_BYTES
        for tool in frame.tools
    )
    form = frame.settings.get("reply_format")
    asked = _bytes(frame.asked) + MESSAGE_BYTES if frame.asked else 0
    return _bytes(frame.instructions) + MESSAGE_BYTES + tools + asked + (len(json.dumps(form)) if form else 0)


def messages_size(messages: Iterable[RequestMessage]) -> int:
    """The bytes of messages."""
    return sum(map(_message_size, messages))


def earlier_turn(steps: Iterable[str]) -> EarlierTurn:
    """A turn by the saved messages of its steps, first to last."""
    sizes = [_saved_size(saved) for saved in steps]
    return EarlierTurn(sum(size for size, _ in sizes), opens=not sizes or sizes[0][1])


@lru_cache(maxsize=8192)
def _saved_size(saved: str) -> tuple[int, bool]:
    messages = saved_messages(saved)
    return messages_size(messages), not messages or messages[0].role == "user"


def _message_size(message: RequestMessage) -> int:
    calls = sum(_bytes(call.name) + len(json.dumps(call.arguments)) + MESSAGE_BYTES for call in message.tool_calls)
    return _bytes(message.content) + MESSAGE_BYTES + calls


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
