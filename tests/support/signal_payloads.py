"""Payloads of signals in many encodings: those that a session understands, and those that it notes as rejected."""

from google.protobuf.wrappers_pb2 import StringValue
from temporalio.api.common.v1 import Payload

from tests.support.marked_words import MARK

TEXT = f"When do you open, {MARK}?"
"""The text in every payload of `UNDERSTOOD`."""


def payload(encoding: str, data: bytes, message_type: str = "") -> Payload:
    metadata = {"encoding": encoding.encode(), **({"messageType": message_type.encode()} if message_type else {})}
    return Payload(metadata=metadata, data=data)


UNDERSTOOD = {
    "bytes": payload("binary/plain", TEXT.encode()),
    "protobuf": payload("binary/protobuf", StringValue(value=TEXT).SerializeToString(), "google.protobuf.StringValue"),
    "protobuf as JSON": payload("json/protobuf", f'"{TEXT}"'.encode(), "google.protobuf.StringValue"),
    "unknown protobuf as JSON": payload("json/protobuf", f'{{"text": "{TEXT}"}}'.encode(), "somebodys.Message"),
}
REFUSED = {
    "a lone surrogate": payload("json/plain", f'"{MARK} \\ud800"'.encode()),
    "3,000 brackets": payload("json/plain", b"[" * 3_000 + b"]" * 3_000),
    "3,000 brackets that stay open": payload("json/plain", f'"{MARK}",'.encode() + b"[" * 3_000),
    "no JSON": payload("json/plain", f"{MARK} {{".encode()),
    "bytes that are no text": payload("binary/plain", b"\xff\xfe" + MARK.encode()),
    "an unknown protobuf": payload("binary/protobuf", b"\x0a\x04" + MARK.encode(), "somebodys.Message"),
    "an unknown encoding": payload("binary/of-nobody", MARK.encode()),
    "no encoding": Payload(data=MARK.encode()),
    "a number": payload("json/plain", b"7"),
    "nothing": payload("binary/null", b""),
}
