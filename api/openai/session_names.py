"""Names of sessions in chat completion requests: Playhead's ids, the client's own ids, and ids of platforms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from pydantic import JsonValue

from api.openai.errors import SESSION_HEADER, ChatError

MAX_NAME_CHARACTERS: Final = 200
SESSION_FIELDS: Final = ("metadata.session_id", "session_id")
"""Paths of fields with the same meaning as the header `X-Session-Id`."""
PLATFORM_HEADERS: Final = ("x-openwebui-chat-id",)
PLATFORM_FIELDS: Final = ("chat_id", "metadata.chat_id", "call.id", "elevenlabs_extra_body.conversation_id")
"""Headers and paths in which platforms send the id of a chat: Open WebUI, Vapi and ElevenLabs."""


@dataclass(frozen=True)
class SessionName:
    """The name of a session. A platform's name comes with the whole conversation in every request."""

    id: str
    is_of_platform: bool = False


class SessionNames:
    """Finds the name in a request. Further headers and paths of fields come before those of known platforms."""

    def __init__(self, headers: Sequence[str] = (), fields: Sequence[str] = ()) -> None:
        self._headers = tuple(name.lower() for name in headers) + PLATFORM_HEADERS
        self._fields = tuple(fields) + PLATFORM_FIELDS

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields of a request that may contain an id."""
        return frozenset(path.partition(".")[0] for path in (*SESSION_FIELDS, *self._fields))

    def name(self, headers: Mapping[str, str], body: Mapping[str, JsonValue]) -> SessionName | None:
        """The session that a request names. Raises ChatError when it names two, or the id is not text."""
        own: dict[str, str | None] = {f"header {SESSION_HEADER}": headers.get(SESSION_HEADER) or None}
        own |= {path: _text_at(body, path) for path in SESSION_FIELDS}
        given = {place: name for place, name in own.items() if name is not None}
        if len(set(given.values())) > 1:
            first, *others = given
            message = f"{' and '.join((first, *others))} name different sessions."
            raise ChatError(400, "invalid_request", message, others[0])
        for name in given.values():
            return SessionName(name)
        for header in self._headers:
            if in_header := headers.get(header):
                return SessionName(_short(in_header, header), is_of_platform=True)
        for path in self._fields:
            if in_field := _text_at(body, path):
                return SessionName(in_field, is_of_platform=True)
        return None


def session_id_of_client(organization_id: str, name: str) -> str:
    """The id of the session that a client names with an id of its own; no two organizations share one."""
    address = f"client-id\n{organization_id}\n{name}"
    return f"ses_{sha256(address.encode()).hexdigest()[:24]}"


def _text_at(body: Mapping[str, JsonValue], path: str) -> str | None:
    """The text at a path of fields; None when there is nothing. A number counts as text."""
    value: JsonValue = dict(body)
    for field in path.split("."):
        value = value.get(field) if isinstance(value, dict) else None
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ChatError(400, "invalid_request", f"{path} names the session and must be a text.", path)
    return _short(str(value), path)


def _short(name: str, place: str) -> str:
    if len(name) > MAX_NAME_CHARACTERS:
        message = f"{place} names the session with {len(name)} characters; at most {MAX_NAME_CHARACTERS} are allowed."
        raise ChatError(400, "invalid_request", message, place)
    return name
