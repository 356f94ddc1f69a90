"""What to do about each refusal of the API, said to somebody in the middle of a chat."""

from domain.turns.turn import Turn
from playhead.output.api_errors import HINTS, describe
from playhead_client import APIStatusError, ModelFailed

MESSAGES = {
    "revision_conflict": "The session changed while you were typing.",
    "turn_in_progress": "The agent is still answering an earlier message.",
}
"""What happened, by the API's code, where the API's own words are for programs that hold a revision."""
REMEDIES = {
    "model_failed": "The failed turn is kept, and what it used is billed. "
    "Say it again to try once more: the conversation goes on from the last answer.",
    "turn_in_progress": "Your message was not taken. Press Enter to wait for the reply, then say it again.",
    "revision_conflict": "Somebody else spoke or rewound here, and your message was not taken. "
    "What is new stands above; say it again if it still fits.",
    "superseded": "The session was rewound meanwhile. Say it again if it still fits: /timeline shows where you are.",
    "idempotency_mismatch": "Say it again; it is sent under a new id.",
    "session_ended": "Nothing more can be said here. Begin another session: playhead chat AGENT",
    "quota_exceeded": "Your message was not taken. Ask whoever runs this installation for a higher limit.",
    "too_large": "Say it in several shorter messages.",
    "not_found": "It may have been erased, or belong to another API key. `playhead sessions ls` lists what there is.",
}
"""By the API's code; other refusals keep the hint of the command line."""


def message_of(refused: APIStatusError) -> str:
    """What happened. The error of a failed turn is shown with the turn, and not a second time."""
    if refused.code == "model_failed" and turn_in(refused):
        return "The model could not answer."
    return MESSAGES.get(refused.code) or describe(refused)


def remedy_for(refused: APIStatusError) -> str | None:
    """What to do now, if anything can be done."""
    return REMEDIES.get(refused.code, HINTS.get(refused.code))


def turn_in(refused: APIStatusError) -> Turn | None:
    """The turn that failed, when that is what the refusal tells."""
    turn = refused.turn if isinstance(refused, ModelFailed) else None
    return Turn.model_validate(turn, from_attributes=True) if turn else None
