"""A reply in the chat protocol's stream: whose it is, its text piece by piece, why it ended, and what it took."""

from collections.abc import AsyncGenerator, Iterator
from typing import Final

from api.openai.errors import ChatError
from api.openai.responses import completion_id, finish_reason, model_name, usage_of
from api.openai.schemas import ChatCompletionChunk, ChunkChoice, CompletionUsage, Delta, FinishReason
from domain.turns.turn import Turn
from store.sessions.sessions import StoredSession

DONE: Final = b"data: [DONE]\n\n"


class Chunks:
    """Writes the events of one reply. With `tells_usage` every event has a usage, which is null but in the last."""

    def __init__(self, session: StoredSession, turn_id: str, created: int, *, tells_usage: bool) -> None:
        self._session = session
        self._turn_id = turn_id
        self._created = created
        self._tells_usage = tells_usage

    def begin(self) -> bytes:
        """The first event: the assistant speaks."""
        return self._choice(Delta(role="assistant", content=""))

    def text(self, piece: str) -> bytes:
        """A piece of the reply."""
        return self._choice(Delta(content=piece))

    def end(self, turn: Turn) -> Iterator[bytes]:
        """The last events."""
        yield self._choice(Delta(), finish_reason(turn))
        if self._tells_usage:
            yield self._event((), usage_of(turn.usage))
        yield DONE

    @staticmethod
    def failed(refused: ChatError) -> bytes:
        """The last event of a reply that broke off: an error, as it would have been answered before the stream."""
        return b"data: " + refused.document() + b"\n\n"

    def _choice(self, delta: Delta, finish: FinishReason | None = None) -> bytes:
        return self._event((ChunkChoice(delta=delta, finish_reason=finish),), None)

    def _event(self, choices: tuple[ChunkChoice, ...], usage: CompletionUsage | None) -> bytes:
        chunk = ChatCompletionChunk(
            id=completion_id(self._turn_id),
            created=self._created,
            model=model_name(self._session),
            choices=choices,
            usage=usage,
            session_id=self._session.id,
        )
        left_out = set() if self._tells_usage else {"usage"}
        return b"data: " + chunk.model_dump_json(exclude=left_out).encode() + b"\n\n"


async def complete_stream(session: StoredSession, turn: Turn, *, tells_usage: bool) -> AsyncGenerator[bytes]:
    """The stream of a reply that is there already."""
    chunks = Chunks(session, turn.id, int(turn.created_at.timestamp()), tells_usage=tells_usage)
    yield chunks.begin()
    if turn.assistant_message:
        yield chunks.text(turn.assistant_message.text)
    for event in chunks.end(turn):
        yield event
