"""A reply of the chat protocol while it is spoken: the events of its turn, as chunks."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from api.http.sse import received
from api.openai.chunks import Chunks
from api.openai.errors import ChatError
from api.schemas.events import ReplyDelta, ReplyReset, TurnStarted
from domain.durable import FrozenModel
from domain.turns.turn import Turn
from store.sessions.sessions import StoredSession


class _Closed(FrozenModel):
    """What the end of a turn tells."""

    turn: Turn


async def chunk_stream(
    session: StoredSession, events: AsyncGenerator[bytes], *, tells_usage: bool
) -> AsyncGenerator[bytes]:
    """The chunks of the turn whose events these are.

    The protocol cannot take back what was said. When the model begins its reply anew, the rest waits until it goes on
    from what the client has; a reply that turns out to be another one ends with an error.
    """
    speech = _Speech(session, tells_usage=tells_usage)
    async with aclosing(events):
        async for piece in events:
            event = received(piece)
            if event is None:
                yield piece  # a comment, which keeps the connection alive
                continue
            for chunk in speech.hear(*event):
                yield chunk


class _Speech:
    """How much of a reply a client has, and how much of it is there."""

    def __init__(self, session: StoredSession, *, tells_usage: bool) -> None:
        self._session = session
        self._tells_usage = tells_usage
        self._chunks: Chunks | None = None
        self._told = ""
        self._text = ""

    def hear(self, kind: str, data: str) -> Iterator[bytes]:
        """What an event of the turn says to the client."""
        if kind == "turn_started":
            started = TurnStarted.model_validate_json(data)
            created = int(started.created_at.timestamp())
            self._chunks = Chunks(self._session, started.turn_id, created, tells_usage=self._tells_usage)
            yield self._chunks.begin()
        elif self._chunks is None:
            raise LookupError(f"{kind} came before the start of its turn")
        elif kind == "reply_delta":
            self._text += ReplyDelta.model_validate_json(data).text
            yield from self._say(self._chunks)
        elif kind == "reply_reset":
            self._text = ReplyReset.model_validate_json(data).text
            yield from self._say(self._chunks)
        elif kind in ("turn_completed", "turn_interrupted", "turn_failed"):
            yield from self._end(self._chunks, _Closed.model_validate_json(data).turn)

    def _say(self, chunks: Chunks) -> Iterator[bytes]:
        if self._text.startswith(self._told) and len(self._text) > len(self._told):
            yield chunks.text(self._text[len(self._told) :])
            self._told = self._text

    def _end(self, chunks: Chunks, turn: Turn) -> Iterator[bytes]:
        if turn.status == "failed":
            yield chunks.failed(ChatError(502, "model_failed", turn.error or "The turn failed."))
        elif self._told != self._text:
            message = (
                "The model began its reply anew, and said something else. What you have of it does not count: read the "
                "session, or send the request again with the same Idempotency-Key."
            )
            yield chunks.failed(ChatError(502, "reply_restarted", message))
        else:
            yield from chunks.end(turn)
