"""Streamed chat completions: the events of a turn as chunks of OpenAI's protocol."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from api.http.sse import KEEPALIVE
from api.openai.chunks import Chunks, complete_stream
from api.openai.client_tools import reply_since
from api.openai.completions import NOTHING_USED
from api.openai.errors import ChatError
from api.schemas.events import HandedOver, ReplyDelta, ReplyReset, TurnClosed, TurnStarted
from api.schemas.responses import Turn
from api.streams.event_log import StreamEvent
from domain.turns.turn import Turn as DomainTurn
from domain.usage import Usage
from store.sessions.sessions import StoredSession


@dataclass(frozen=True)
class ChunkForm:
    """Encoding of a reply as chunks of chat completions."""

    include_usage: bool
    has_older_form: bool = False

    def whole(self, session: StoredSession, turn: DomainTurn) -> AsyncGenerator[bytes]:
        """The stream of a reply that is already complete."""
        return complete_stream(session, turn, include_usage=self.include_usage)

    def streamed(
        self,
        session: StoredSession,
        events: AsyncGenerator[StreamEvent | None],
        *,
        said: int = 0,
        used: Usage = NOTHING_USED,
    ) -> AsyncGenerator[bytes]:
        """The stream of the reply whose events are given."""
        return chunk_stream(session, events, self, said=said, used=used)


async def chunk_stream(
    session: StoredSession,
    events: AsyncGenerator[StreamEvent | None],
    form: ChunkForm,
    *,
    said: int = 0,
    used: Usage = NOTHING_USED,
) -> AsyncGenerator[bytes]:
    """The chunks of the turn whose events are given, after the first `said` characters of its reply.

    The protocol cannot retract text that was sent. When the model restarts its reply, nothing is sent until the new
    text continues the text that was sent; a reply with another text ends with an error.
    """
    reply = _StreamedReply(session, form, said=said, used=used)
    async with aclosing(events):
        async for event in events:
            if event is None:
                yield KEEPALIVE
                continue
            for chunk in reply.chunks(event):
                yield chunk


class _StreamedReply:
    """State of one streamed reply: its text so far, and the part of it that was sent."""

    def __init__(self, session: StoredSession, form: ChunkForm, *, said: int, used: Usage) -> None:
        self._session = session
        self._form = form
        self._said = said
        self._used = used
        self._chunks: Chunks | None = None
        self._sent = ""
        self._text = ""

    def chunks(self, event: StreamEvent) -> Iterator[bytes]:
        """The chunks to send for an event of the turn."""
        if isinstance(event.data, TurnStarted):
            created = int(event.data.created_at.timestamp())
            self._chunks = Chunks(
                self._session,
                event.data.turn_id,
                created,
                include_usage=self._form.include_usage,
                has_older_form=self._form.has_older_form,
            )
            yield self._chunks.begin()
            return
        if self._chunks is None:
            raise LookupError(f"{event.type} came before the start of its turn")
        match event.data:
            case ReplyDelta(text=text):
                self._text += text
                yield from self._send_text(self._chunks)
            case ReplyReset(text=text):
                self._text = text
                yield from self._send_text(self._chunks)
            case TurnClosed(turn=turn):
                yield from self._end(self._chunks, turn)
            case HandedOver():
                yield from self._chunks.calls(event.data, self._used)

    def _send_text(self, chunks: Chunks) -> Iterator[bytes]:
        text = reply_since(self._text, self._said)
        if text.startswith(self._sent) and len(text) > len(self._sent):
            yield chunks.text(text[len(self._sent) :])
            self._sent = text

    def _end(self, chunks: Chunks, turn: Turn) -> Iterator[bytes]:
        if turn.status == "failed":
            yield chunks.failed(ChatError.of_failed(turn))
        elif self._sent != reply_since(self._text, self._said):
            message = (
                "The model restarted its reply with another text. Discard the text you received: read the session, or "
                "send the request again with the same Idempotency-Key."
            )
            yield chunks.failed(ChatError(502, "reply_restarted", message))
        else:
            yield from chunks.end(turn, self._used)
