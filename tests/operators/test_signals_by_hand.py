"""Signals of any form from Temporal's command line: each is applied or recorded as rejected; no log quotes them.

The log files of the stack are searched for the marked words once all tests are over (`tests/conftest.py`).
"""

from base64 import b64encode
from functools import partial

from temporalio.api.common.v1 import Payload

from tests.e2e.processes import until_seen
from tests.operators.operator_stack import OperatedStack, texts
from tests.support.signal_payloads import REFUSED, TEXT, UNDERSTOOD

NOT_SENT = ("no JSON", "3,000 brackets that stay open")
"""Signals that the command line refuses to send; `tests/workflows/session/test_signal_encodings.py` sends them."""


def test_signals_of_any_form_are_applied_or_recorded_as_rejected(operated: OperatedStack) -> None:
    session_id = operated.create()
    for count, payload in enumerate(UNDERSTOOD.values(), start=1):
        signal(operated, session_id, payload)
        until_seen(
            partial(has_said, operated, session_id, [None, *[TEXT] * count]),
            lambda: f"{operated.session(session_id)}",
        )
    sent = [payload for kind, payload in REFUSED.items() if kind not in NOT_SENT]
    for payload in sent:
        signal(operated, session_id, payload)
    until_seen(lambda: len(rejections(operated, session_id)) == len(sent), lambda: "some were not recorded")
    assert set(rejections(operated, session_id)) == {"validation_error"}
    assert operated.session(session_id)["turns"][-1]["assistant_message"]["text"] == f"You said: {TEXT}"
    assert texts(operated.compare(session_id)) == [None, *[TEXT] * len(UNDERSTOOD)]


def has_said(operated: OperatedStack, session_id: str, said: list[str | None]) -> bool:
    """True when the session has these texts of users and no others."""
    return texts(operated.session(session_id)) == said


def signal(operated: OperatedStack, session_id: str, payload: Payload) -> None:
    """Send a payload, byte by byte as it is."""
    metadata = payload.metadata or {"encoding": b""}
    meta = [part for name, value in metadata.items() for part in ("--input-meta", f"{name}={value.decode()}")]
    is_json = metadata["encoding"].startswith(b"json/")
    content = (
        ["--input", payload.data.decode()]
        if is_json
        else ["--input-base64", "--input", b64encode(payload.data).decode()]
    )
    operated.workflow("signal", "-w", f"session-{session_id}", "--name", "user_message", *meta, *content)


def rejections(operated: OperatedStack, session_id: str) -> list[str]:
    """The codes of the commands of a session that were rejected."""
    return [str(payload["code"]) for kind, payload in operated.logged(session_id) if kind == "command_refused"]
