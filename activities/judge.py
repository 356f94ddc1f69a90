"""Judging a conversation that is over: the checks first, then a model's verdict on each criterion, bought once."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.charge_once import AuxiliaryCallKey, IdempotentCaller, StoredReply
from activities.llm.interface import ModelAnswer, ModelCaller, RecordCall
from activities.llm.metrics import timed
from activities.spending_limit import SpendingLimit
from contracts.judge import JudgeInput, JudgeResult
from contracts.sessions import SettleTurnsInput
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.sessions.timeline import AuxiliaryCall
from domain.suites.checks import Conversation, run_checks
from domain.suites.judge_prompt import judge_instructions, judge_transcript
from domain.suites.verdicts import (
    CUT_SHORT_REASONS,
    VERDICT_TOOL,
    CriterionVerdict,
    inconclusive_verdicts,
    parse_verdicts,
    verdict_of,
    verdict_schema,
)
from domain.turns.engine import ModelReply, template_values
from domain.turns.turn import Turn

if TYPE_CHECKING:
    from store.agents import AgentStore
    from store.sessions.sessions import SessionStore, StoredSession
    from store.sessions.settlement import SettlementStore
    from store.sessions.steps import StepStore

JUDGE = "judge"
"""Stands for the node of a judgement, where it is saved among the steps."""
TURNS_A_PAGE = 200


class JudgeActivities:
    """Judges sessions that have ended, and bills what that costs."""

    def __init__(
        self,
        *,
        steps: "StepStore",
        sessions: "SessionStore",
        settlements: "SettlementStore",
        agents: "AgentStore",
        limit: SpendingLimit,
        caller: ModelCaller,
        context_characters: int,
    ) -> None:
        self._buyer = IdempotentCaller(steps=steps, context_characters=context_characters)
        self._sessions = sessions
        self._settlements = settlements
        self._agents = agents
        self._limit = limit
        self._caller = caller
        self._context_characters = context_characters

    @activity.defn
    async def judge_session(self, input: JudgeInput) -> JudgeResult:
        """The verdict on a session, from the store if it has been bought before.

        A judge that cannot be asked, or whose answer cannot be read, decides nothing: its criteria are inconclusive.
        Fails for good, with type `not_found`, when the store does not have the session.
        """
        session = await self._sessions.find(input.organization_id, input.session_id)
        if session is None or session.head is None:
            raise ApplicationError(
                f"The session {input.session_id} is not recorded.", type="not_found", non_retryable=True
            )
        conversation = await self._conversation(session, input)
        findings = run_checks(input.scenario.checks, conversation)
        cut_short = input.cut_short or CUT_SHORT_REASONS.get(conversation.completion_reason or "")
        if not input.scenario.success:
            return JudgeResult(verdict=verdict_of((), findings, cut_short))
        try:
            bought = await self._bought(input, conversation)
        except ApplicationError as failure:
            if not failure.non_retryable:
                raise
            criteria = inconclusive_verdicts(input.scenario.success, f"The judge could not be asked: {failure.message}")
            return JudgeResult(verdict=verdict_of(criteria, findings, cut_short))
        await self._bill(input, session, bought.reply)
        return JudgeResult(
            verdict=verdict_of(_criteria(input, bought.reply, conversation.turns), findings, cut_short),
            usage=bought.reply.usage,
            cost=bought.reply.cost,
            reused=bought.reused,
        )

    async def _bought(self, input: JudgeInput, conversation: Conversation) -> StoredReply:
        async def ask(_: tuple[str, ...]) -> ModelAnswer:
            await self._limit.require(input.organization_id)
            call = RecordCall(
                model=input.model,
                instructions=judge_instructions(input.scenario),
                history=(),
                asked=judge_transcript(conversation, self._context_characters),
                tool=VERDICT_TOOL,
                description="Record the verdict on every criterion.",
                schema=verdict_schema(input.scenario.success),
                timeout=input.timeout,
                seed=input.seed,
            )
            return await timed(self._caller.record(call), input.price_per_second)

        purchase = AuxiliaryCallKey(
            session_id=input.session_id,
            organization_id=input.organization_id,
            turn_id=input.judgement_id,
            node_id=JUDGE,
            model=input.model,
        )
        return await self._buyer.once(purchase, ask)

    async def _conversation(self, session: "StoredSession", input: JudgeInput) -> Conversation:
        """The visible branch of the session, and how it stood at its end."""
        head = session.head
        assert head is not None, "the session is recorded"
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        began_with = {**session.initial_context, **head.fetched_context}
        return Conversation(
            turns=await self._turns(session.id, head.head_turn_id),
            variables=template_values(definition, began_with, head.gathered_context),
            cost_usd=head.cost.total,
            completion_reason=head.completion_reason,
        )

    async def _turns(self, session_id: str, leaf_turn_id: str | None) -> tuple[Turn, ...]:
        turns: list[Turn] = []
        while leaf_turn_id is not None:
            before = turns[0].index if turns else None
            page = await self._sessions.turns(
                session_id, leaf_turn_id=leaf_turn_id, limit=TURNS_A_PAGE, before_index=before
            )
            turns = [*page, *turns]
            if len(page) < TURNS_A_PAGE:
                break
        return tuple(turns)

    async def _bill(self, input: JudgeInput, session: "StoredSession", reply: ModelReply) -> None:
        """One row in the ledger, under the judgement's own id: billing it again changes nothing."""
        assert session.head is not None, "the session is recorded"
        judgement = AuxiliaryCall(
            id=input.judgement_id,
            purpose="judge",
            after_turn_id=session.head.head_turn_id,
            created_at=datetime.now(UTC),
            usage=reply.usage,
            cost=reply.cost,
        )
        await self._settlements.settle(
            SettleTurnsInput(
                session_id=input.session_id,
                organization_id=input.organization_id,
                agent=input.agent,
                head=session.head,
                asides=(judgement,),
            )
        )


def _criteria(input: JudgeInput, reply: ModelReply, turns: tuple[Turn, ...]) -> tuple[CriterionVerdict, ...]:
    """The verdicts that a judge's reply holds."""
    criteria = input.scenario.success
    if reply.interrupted:
        return inconclusive_verdicts(criteria, "The judge was interrupted.")
    recorded = next((call.arguments for call in reply.tool_calls if call.name == VERDICT_TOOL), None)
    if recorded is None or recorded.keys() == {UNPARSED_ARGUMENTS}:
        return inconclusive_verdicts(criteria, "The judge recorded nothing that can be read.")
    return parse_verdicts(criteria, recorded, {turn.id for turn in turns})
