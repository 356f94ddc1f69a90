"""Events as the client reads them from bytes, without a connection."""

import httpx2

from playhead_client import Event
from playhead_client.events import EventReader


def received(*pieces: bytes) -> list[Event]:
    """The events in the body of a stream that arrives in these pieces."""
    response = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=iter(pieces),
        request=httpx2.Request("GET", "http://api"),
    )
    reader = EventReader()
    return [reader.read(sent) for sent in httpx2.EventSource(response, max_event_size=None)]
