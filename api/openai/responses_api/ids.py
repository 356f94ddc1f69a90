"""Ids of responses and of their items: each contains the ids of its session and its turn."""

import re
from dataclasses import dataclass
from typing import Final

_ID: Final = re.compile(r"(?:resp|msg)_([0-9A-Za-z]{1,64})_([0-9A-Za-z]{1,64})")


def function_call_item_id(call_id: str) -> str:
    """The id of the item for a client tool call, derived from the id of the call."""
    return f"fc_{call_id.removeprefix('call_')}"


def call_id_of_item(item_id: str) -> str | None:
    """The id of the call that an item stands for; None for an id of another form."""
    return f"call_{item_id.removeprefix('fc_')}" if item_id.startswith("fc_") else None


@dataclass(frozen=True)
class ResponsePlace:
    """The session and the turn of a response."""

    session_id: str
    turn_id: str

    @property
    def response_id(self) -> str:
        """The id of the response. Turns of a fork keep their original ids, so it contains the session's too."""
        return f"resp_{self._digits}"

    @property
    def message_id(self) -> str:
        """The id of the message in the output of the response."""
        return f"msg_{self._digits}"

    @property
    def _digits(self) -> str:
        return f"{self.session_id.removeprefix('ses_')}_{self.turn_id.removeprefix('turn_')}"


def place_of(given: str) -> ResponsePlace | None:
    """The place that an id of a response or of its message names; None for an id of another form."""
    match = _ID.fullmatch(given)
    return ResponsePlace(f"ses_{match[1]}", f"turn_{match[2]}") if match else None
