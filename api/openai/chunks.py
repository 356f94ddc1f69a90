"""Encoding of a streamed chat completion: its role, its text, the finish reason and the usage, as chunks."""

from collections.abc import AsyncGenerator, Iterator
from typing import Final

from api.openai.completions import NOTHING_USED
from api.openai.errors import ChatError
from api.openai.responses import completion_id, finish_reason, function_call_of, model_name, tool_call_of, usage_since
from api.openai.schemas import (
    ChatCompletionChunk,
    ChunkChoice,
    CompletionUsage,
    Delta,
    FinishReason,
    ToolCallDelta,
)
from api.schemas.events import HandedOver
from api.schemas.responses import Turn
from domain.turns.turn import Turn as DomainTurn
from domain.usage import Usage
from store.sessions.sessions import StoredSession

DONE: Final = b"data: [DONE]\n\n"


class Chunks:
    """Encodes the chunks of one reply. With `include_usage` every chunk has a `usage`, null in all but the last.

    With `has_older_form` a call is given as a `function_call`.
    """

    def __init__(
        self,
        session: StoredSession,
        turn_id: str,
        created: int,
        *,
        include_usage: bool,
        has_older_form: bool = False,
    ) -> None:
        self._session = session
        self._turn_id = turn_id
        self._created = created
        self._include_usage = include_usage
        self._has_older_form = has_older_form

    def begin(self) -> bytes:
        """The first chunk, with the role of the assistant."""
        return self._choice(Delta(role="assistant", content=""))

    def text(self, piece: str) -> bytes:
        """A chunk with text of the reply."""
        return self._choice(Delta(content=piece))

    def end(self, turn: DomainTurn | Turn, used: Usage = NOTHING_USED) -> Iterator[bytes]:
        """The last chunks: the finish reason, the usage if it is included, and the end of the stream.

        `used` is the usage that an earlier response has reported.
        """
        yield from self._last(finish_reason(turn.status), usage_since(turn.usage.llm, used.llm))

    def calls(self, handed_over: HandedOver, used: Usage) -> Iterator[bytes]:
        """The last chunks of a reply that waits for its client: the calls, and then as in `end`."""
        usage = usage_since(handed_over.used.llm, used.llm)
        if self._has_older_form:
            yield self._choice(Delta(function_call=function_call_of(handed_over.calls)))
            yield from self._last("function_call", usage)
            return
        calls = (tool_call_of(call) for call in handed_over.calls)
        deltas = (ToolCallDelta(index=index, id=call.id, function=call.function) for index, call in enumerate(calls))
        yield self._choice(Delta(tool_calls=tuple(deltas)))
        yield from self._last("tool_calls", usage)

    def _last(self, finish: FinishReason, usage: CompletionUsage) -> Iterator[bytes]:
        yield self._choice(Delta(), finish)
        if self._include_usage:
            yield self._event((), usage)
        yield DONE

    @staticmethod
    def failed(error: ChatError) -> bytes:
        """The last event of a reply that failed: the error in the form that a response has."""
        return b"data: " + error.document() + b"\n\n"

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
        excluded: set[str] = set() if self._include_usage else {"usage"}
        return b"data: " + chunk.model_dump_json(exclude=excluded).encode() + b"\n\n"


async def complete_stream(session: StoredSession, turn: DomainTurn, *, include_usage: bool) -> AsyncGenerator[bytes]:
    """The stream of a reply that is already complete."""
    chunks = Chunks(session, turn.id, int(turn.created_at.timestamp()), include_usage=include_usage)
    yield chunks.begin()
    if turn.assistant_message:
        yield chunks.text(turn.assistant_message.text)
    for event in chunks.end(turn):
        yield event
