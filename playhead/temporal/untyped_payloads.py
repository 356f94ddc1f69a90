"""Payloads of no known type, such as arguments of signals: read in whatever form they come, and never quoted in errors.

People write signals by hand, with the Temporal UI, its command line or programs in other languages. The SDK drops a
signal that it cannot read, and logs the beginning of its text.
"""

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from pydantic_core import from_json
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from contracts.sessions import UnreadableArgument

JSON_ENCODINGS = frozenset({"json/plain", "json/protobuf"})
MAX_SHOWN_ENCODING = 40


def read_untyped(converter: PayloadConverter, payload: Payload) -> object:
    """The value of a payload: plain JSON, text for bytes that are UTF-8, or an UnreadableArgument that says why not."""
    try:
        [value] = converter.from_payloads([payload])
    except Exception:
        # Whatever the SDK raises quotes the text that it could not read.
        return _read_json(payload)
    if isinstance(value, Message):
        return _plain(value)
    return _text(value) if isinstance(value, bytes) else value


def _read_json(payload: Payload) -> object:
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding not in JSON_ENCODINGS:
        shown = encoding[:MAX_SHOWN_ENCODING]
        return UnreadableArgument(
            f"its encoding, {shown}, or its message type is not known" if shown else "it has no encoding"
        )
    try:
        return from_json(payload.data)
    except ValueError as error:
        return UnreadableArgument(f"it is not valid JSON: {error}")


def _plain(message: Message) -> object:
    try:
        return MessageToDict(message)
    except Exception:
        return UnreadableArgument("its protobuf message has no form in JSON")


def _text(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return UnreadableArgument("its bytes are not UTF-8 text")
