"""Messages and hints for API errors in a chat."""

from domain.turns.turn import Turn
from playhead.output.api_errors import HINTS, describe
from playhead_client import APIStatusError, ModelFailed

MESSAGES = {
    "revision_conflict": "The session changed while you were typing.",
    "turn_in_progress": "The agent is still answering an earlier message.",
}
"""Messages by error code, where the API's own message is meant for programs."""
HINTS_BY_CODE = {
    "model_failed": "The failed turn is kept, and its usage is billed. "
    "Send the message again to retry: the conversation continues from the last answer.",
    "turn_in_progress": "Your message was not accepted. Press Enter to wait for the reply, then send it again.",
    "revision_conflict": "Another client changed the session, and your message was not accepted. "
    "The new turns are shown above; send your message again if it still fits.",
    "superseded": "The session was rewound meanwhile. "
    "Send your message again if it still fits: /timeline shows the conversation.",
    "idempotency_mismatch": "Send your message again; it gets a new id.",
    "session_ended": "This session accepts no more messages. Start another: playhead chat AGENT",
    "quota_exceeded": "Your message was not accepted. Ask the operator of this installation for a higher limit.",
    "too_large": "Split it into several shorter messages.",
    "not_found": "It may have been erased, or belong to another API key. `playhead sessions ls` lists the sessions.",
}
"""Hints by error code; other errors have the hint of the command line."""


def error_message(error: APIStatusError) -> str:
    """The message for an error. The error of a failed turn is shown with the turn and not repeated."""
    if error.code == "model_failed" and failed_turn(error):
        return "The model could not answer."
    return MESSAGES.get(error.code) or describe(error)


def hint_for(error: APIStatusError) -> str | None:
    """The hint for an error, if there is one."""
    return HINTS_BY_CODE.get(error.code, HINTS.get(error.code))


def failed_turn(error: APIStatusError) -> Turn | None:
    """The failed turn of an error; None for other errors."""
    turn = error.turn if isinstance(error, ModelFailed) else None
    return Turn.model_validate(turn, from_attributes=True) if turn else None
