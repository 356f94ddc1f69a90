"""Text chats as streams: the text of a reply while it is generated, then the response of the plain route.

Each event is `event: <type>` and JSON. `turn_started` names the turn, `reply_delta` adds text, `reply_reset` replaces
the text so far, `event` is one of the turn's events, and `session` is the response of the plain route. `error` ends a
stream whose turn failed, with the `detail` and `status_code` of the plain route.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, get_args

from pydantic import BaseModel

from api.dograh.errors import failed
from api.dograh.schemas import StreamedError, StreamedText, StreamedTurn, TextSession
from api.dograh.text_sessions import event_of
from api.http.sse import KEEPALIVE, format_event
from api.schemas.events import Happened, ReplyDelta, ReplyReset, TurnClosed, TurnStarted
from api.streams.event_log import StreamEvent
from domain.agents.definition import AgentDefinition
from domain.dograh.run_log import EventForms
from domain.turns.turn import EventType, TurnEvent

_EVENT_TYPES: Final[frozenset[str]] = frozenset(get_args(EventType))


async def text_chat_stream(
    events: AsyncGenerator[StreamEvent | None], agent: AgentDefinition, answer: Callable[[], Awaitable[TextSession]]
) -> AsyncGenerator[bytes]:
    """The events of a turn in this form, encoded; `answer` reads the session after it."""
    forms = EventForms()
    async with aclosing(events):
        async for event in events:
            if event is None:
                yield KEEPALIVE
            elif isinstance(event.data, TurnClosed):
                if event.data.turn.status == "failed":
                    yield format_event("error", StreamedError(detail=failed(event.data.turn.error), status_code=500))
                    return
                yield format_event("session", await answer())
                return
            elif (shown := _shown(event, forms, agent)) is not None:
                yield format_event(*shown)


def _shown(event: StreamEvent, forms: EventForms, agent: AgentDefinition) -> tuple[str, BaseModel] | None:
    """The type and data of an event; None for one that dograh does not have."""
    match event.data:
        case TurnStarted(turn_id=turn_id, created_at=created_at):
            return "turn_started", StreamedTurn(turn_id=turn_id, created_at=created_at)
        case ReplyDelta(turn_id=turn_id, text=text) | ReplyReset(turn_id=turn_id, text=text):
            return event.type, StreamedText(turn_id=turn_id, text=text)
        case Happened(created_at=created_at) if event.type in _EVENT_TYPES:
            happened = TurnEvent.model_validate(
                {"type": event.type, "created_at": created_at, "payload": event.data.model_extra or {}}
            )
            shown = event_of(forms.form(happened), agent)
            return None if shown is None else ("event", shown)
        case _:
            return None
