"""Streamed responses: the events of a turn as events of the Responses API."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from api.http.sse import KEEPALIVE, format_event
from api.openai.client_tools import reply_since
from api.openai.completions import NOTHING_USED
from api.openai.responses_api.ids import ResponsePlace
from api.openai.responses_api.rendering import (
    function_call_of,
    message_of,
    pending_turn,
    response_of,
    started_response,
    waiting_response,
)
from api.openai.responses_api.schemas import (
    AgentResponse,
    ContentPartEvent,
    FunctionArgumentsDeltaEvent,
    FunctionArgumentsDoneEvent,
    FunctionCallItem,
    LifecycleEvent,
    OutputItemEvent,
    OutputMessage,
    OutputText,
    ResponseEvent,
    ResponseFailure,
    TextDeltaEvent,
    TextDoneEvent,
)
from api.schemas.events import HandedOver, ReplyDelta, ReplyReset, TurnClosed, TurnStarted
from api.schemas.responses import Turn
from api.streams.event_log import StreamEvent
from domain.turns.turn import Turn as DomainTurn
from domain.usage import Usage
from store.sessions.sessions import StoredSession


class ResponseForm:
    """Encoding of a reply as events of the Responses API."""

    def whole(self, session: StoredSession, turn: DomainTurn) -> AsyncGenerator[bytes]:
        """The stream of a response that is already complete."""
        return complete_stream(session, turn)

    def streamed(
        self,
        session: StoredSession,
        events: AsyncGenerator[StreamEvent | None],
        *,
        said: int = 0,
        used: Usage = NOTHING_USED,
    ) -> AsyncGenerator[bytes]:
        """The stream of the response whose events are given."""
        return response_stream(session, events, said=said, used=used)


async def response_stream(
    session: StoredSession,
    events: AsyncGenerator[StreamEvent | None],
    *,
    said: int = 0,
    used: Usage = NOTHING_USED,
) -> AsyncGenerator[bytes]:
    """The protocol's events for the given events of a turn, after the first `said` characters of its reply.

    As with chat completions, text that was sent cannot be retracted: a reply with another text fails.
    """
    response = _StreamedResponse(session, said, used)
    async with aclosing(events):
        async for event in events:
            if event is None:
                yield KEEPALIVE
                continue
            for sent in response.events(event):
                yield format_event(sent.type, sent)


async def complete_stream(session: StoredSession, turn: DomainTurn) -> AsyncGenerator[bytes]:
    """The stream of a response that is already complete."""
    response = _StreamedResponse(session)
    for event in response.whole(turn):
        yield format_event(event.type, event)


class _StreamedResponse:
    """State of one streamed response: its text so far, and the part of it that was sent."""

    def __init__(self, session: StoredSession, said: int = 0, used: Usage = NOTHING_USED) -> None:
        self._session = session
        self._said = said
        self._used = used
        self._started: TurnStarted | None = None
        self._message_id: str | None = None
        self._sequence = -1
        self._sent = ""
        self._text = ""

    def events(self, event: StreamEvent) -> Iterator[ResponseEvent]:
        """The events to send for an event of the turn."""
        match event.data:
            case TurnStarted():
                self._started = event.data
                yield from self._begin(event.data.turn_id, started_response(self._session, event.data))
            case ReplyDelta(text=text):
                self._text += text
                yield from self._send_text()
            case ReplyReset(text=text):
                self._text = text
                yield from self._send_text()
            case TurnClosed(turn=turn):
                yield from self._end(turn)
            case HandedOver():
                yield from self._hand_over(event.data)

    def whole(self, turn: DomainTurn) -> Iterator[ResponseEvent]:
        """All events of a turn that is complete."""
        begun = response_of(self._session, turn)
        begun = begun.model_copy(update={"status": "in_progress", "output": (), "usage": None})
        yield from self._begin(turn.id, begun)
        self._text = turn.assistant_message.text if turn.assistant_message else ""
        yield from self._send_text()
        yield from self._end(turn)

    def _begin(self, turn_id: str, response: AgentResponse) -> Iterator[ResponseEvent]:
        self._message_id = ResponsePlace(self._session.id, turn_id).message_id
        yield LifecycleEvent(type="response.created", sequence_number=self._next(), response=response)
        yield LifecycleEvent(type="response.in_progress", sequence_number=self._next(), response=response)

    def _send_text(self) -> Iterator[ResponseEvent]:
        text = reply_since(self._text, self._said)
        if not text.startswith(self._sent) or len(text) == len(self._sent):
            return
        if self._message_id is None:
            raise LookupError("text came before the start of its turn")
        if not self._sent:
            yield from self._begin_message(self._message_id)
        delta, self._sent = text[len(self._sent) :], text
        yield TextDeltaEvent(sequence_number=self._next(), item_id=self._message_id, delta=delta)

    def _begin_message(self, message_id: str) -> Iterator[ResponseEvent]:
        item = OutputMessage(id=message_id, status="in_progress", content=())
        yield OutputItemEvent(type="response.output_item.added", sequence_number=self._next(), item=item)
        yield ContentPartEvent(
            type="response.content_part.added",
            sequence_number=self._next(),
            item_id=message_id,
            part=OutputText(text=""),
        )

    def _end(self, turn: Turn | DomainTurn) -> Iterator[ResponseEvent]:
        response = response_of(self._session, turn, said=self._said, used=self._used)
        if response.status != "failed" and self._sent != reply_since(self._text, self._said):
            failure = ResponseFailure(
                message="The model restarted its reply with another text. Discard the text you received: get the "
                "response, which has the correct one."
            )
            response = response.model_copy(update={"status": "failed", "error": failure, "output": ()})
        if response.status == "failed":
            yield LifecycleEvent(type="response.failed", sequence_number=self._next(), response=response)
            return
        if self._sent:
            yield from self._end_message(message_of(self._session, turn, self._sent))
        yield LifecycleEvent(
            type="response.incomplete" if response.status == "incomplete" else "response.completed",
            sequence_number=self._next(),
            response=response,
        )

    def _hand_over(self, handed_over: HandedOver) -> Iterator[ResponseEvent]:
        """The end of a response whose turn waits for its client."""
        if self._started is None:
            raise LookupError("calls came before the start of their turn")
        turn = pending_turn(self._started)
        response = waiting_response(
            self._session,
            turn,
            handed_over.calls,
            up_to=handed_over.used,
            said=self._said,
            used=self._used,
        )
        if self._sent:
            yield from self._end_message(message_of(self._session, turn, self._sent))
        for index, call in enumerate(handed_over.calls, start=1 if self._sent else 0):
            yield from self._call(index, function_call_of(call))
        yield LifecycleEvent(type="response.completed", sequence_number=self._next(), response=response)

    def _call(self, index: int, item: FunctionCallItem) -> Iterator[ResponseEvent]:
        begun = item.model_copy(update={"status": "in_progress", "arguments": ""})
        yield OutputItemEvent(
            type="response.output_item.added", sequence_number=self._next(), output_index=index, item=begun
        )
        yield FunctionArgumentsDeltaEvent(
            sequence_number=self._next(), item_id=item.id, output_index=index, delta=item.arguments
        )
        yield FunctionArgumentsDoneEvent(
            sequence_number=self._next(),
            item_id=item.id,
            output_index=index,
            name=item.name,
            arguments=item.arguments,
        )
        yield OutputItemEvent(
            type="response.output_item.done", sequence_number=self._next(), output_index=index, item=item
        )

    def _end_message(self, message: OutputMessage) -> Iterator[ResponseEvent]:
        (part,) = message.content
        yield TextDoneEvent(sequence_number=self._next(), item_id=message.id, text=part.text)
        yield ContentPartEvent(
            type="response.content_part.done", sequence_number=self._next(), item_id=message.id, part=part
        )
        yield OutputItemEvent(type="response.output_item.done", sequence_number=self._next(), item=message)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
