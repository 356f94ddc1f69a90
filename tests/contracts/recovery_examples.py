"""One complete example of every contract of recovery: no field is left at its default."""

from collections.abc import Iterable

from contracts.recovery import (
    ClaimSessionInput,
    ClaimSessionResult,
    ReadRecordInput,
    ReadRecordResult,
    RestoredStep,
    RestoredTurn,
    RestoreTurnsInput,
    RestoreTurnsResult,
)
from contracts.sessions import AgentRef, GenerateStepInput
from domain.durable import FrozenModel
from domain.sessions.recovery import SessionRecord
from domain.turns.engine import ModelReply
from domain.turns.turn import Message, Turn


def recovery_examples(
    agent: AgentRef, turns: Iterable[Turn], call: GenerateStepInput, reply: ModelReply, messages: tuple[Message, ...]
) -> tuple[FrozenModel, ...]:
    """The examples, built from examples of the models that they contain."""
    lost = tuple(turns)
    return (
        ClaimSessionInput(session_id="ses_1", organization_id="org_1", first_run_id="run-1"),
        ClaimSessionResult(rejection="The session ses_1 was erased."),
        ReadRecordInput(session_id="ses_1", organization_id="org_1", known_turn_ids=("t0", "t1")),
        ReadRecordResult(
            record=SessionRecord(
                exists=True,
                revision=7,
                version=12,
                unknown_turns=lost,
                missing_turn_ids=("t1",),
                usage=reply.usage,
                cost=reply.cost,
                billed_ids=("t0",),
            )
        ),
        RestoredTurn(turn=lost[0], after="9f2c", carry=messages),
        RestoredStep(call=call, reply=reply),
        RestoreTurnsInput(
            session_id="ses_1",
            organization_id="org_1",
            agent=agent,
            model="openai:gpt-5-mini",
            turns=tuple(RestoredTurn(turn=turn, after="9f2c", carry=messages) for turn in lost),
            steps=(RestoredStep(call=call, reply=reply),),
            taken_over=("t0",),
        ),
        RestoreTurnsResult(restored=2),
    )
