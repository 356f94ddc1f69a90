"""Judges a finished conversation: deterministic checks first, then one model call for a verdict on each criterion."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.charge_once import AuxiliaryCallKey, IdempotentCaller, StoredReply
from activities.earlier_messages import EarlierMessages
from activities.llm.interface import ModelAnswer, ModelCaller, RecordCall
from activities.llm.metrics import timed
from activities.spending_limit import SpendingLimit
from contracts.judge import JudgeInput, JudgeResult, recorded_outcome
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
from domain.turns.call_digest import digest_of
from domain.turns.engine import ModelReply, template_values
from domain.turns.turn import Turn

if TYPE_CHECKING:
    from store.agents import AgentStore
    from store.sessions.sessions import SessionStore, StoredSession
    from store.sessions.settlement import SettlementStore
    from store.sessions.steps import StepStore
    from store.suites import SuiteStore

JUDGE_NODE_ID = "judge"
"""The `node_id` of judge calls among the saved steps."""
TURN_PAGE_SIZE = 200


class JudgeActivities:
    """Judges sessions that have ended, and bills the model call."""

    def __init__(
        self,
        *,
        steps: "StepStore",
        sessions: "SessionStore",
        settlements: "SettlementStore",
        suites: "SuiteStore",
        agents: "AgentStore",
        limit: SpendingLimit,
        caller: ModelCaller,
        context_characters: int,
    ) -> None:
        self._idempotent_caller = IdempotentCaller(steps=steps)
        self._sessions = sessions
        self._settlements = settlements
        self._suites = suites
        self._agents = agents
        self._limit = limit
        self._caller = caller
        self._context_characters = context_characters

    @activity.defn
    async def judge_session(self, input: JudgeInput) -> JudgeResult:
        """Return the verdict on a session, and record it as the outcome of its run; a retry reuses the stored reply.

        When the model call fails or its reply cannot be parsed, the criteria are inconclusive. The outcome of a failed
        call is not recorded here, because a retry might find another.
        Raises a non-retryable ApplicationError of type `not_found` when the session is not in the store.
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
            return await self._recorded(input, JudgeResult(verdict=verdict_of((), findings, cut_short)))
        try:
            stored = await self._verdict_reply(input, conversation)
        except ApplicationError as failure:
            if not failure.non_retryable:
                raise
            criteria = inconclusive_verdicts(
                input.scenario.success, f"The judge could not be called: {failure.message}"
            )
            return JudgeResult(verdict=verdict_of(criteria, findings, cut_short))
        await self._bill(input, session, stored.reply)
        judged = JudgeResult(
            verdict=verdict_of(_criteria(input, stored.reply, conversation.turns), findings, cut_short),
            usage=stored.reply.usage,
            cost=stored.reply.cost,
            reused=stored.reused,
        )
        return await self._recorded(input, judged)

    async def _recorded(self, input: JudgeInput, result: JudgeResult) -> JudgeResult:
        outcome = recorded_outcome(input, result.verdict, datetime.now(UTC))
        if outcome is None:
            return result
        return result.model_copy(update={"price": await self._suites.record_run(outcome)})

    async def _verdict_reply(self, input: JudgeInput, conversation: Conversation) -> StoredReply:
        instructions = judge_instructions(input.scenario)
        transcript = judge_transcript(conversation, self._context_characters)

        async def call_model(_: EarlierMessages) -> ModelAnswer:
            await self._limit.require(input.organization_id)
            call = RecordCall(
                model=input.model,
                instructions=instructions,
                history=(),
                asked=transcript,
                tool=VERDICT_TOOL,
                description="Record the verdict on every criterion.",
                schema=verdict_schema(input.scenario.success),
                timeout=input.timeout,
                seed=input.seed,
            )
            return await timed(self._caller.record(call), input.price_per_second)

        key = AuxiliaryCallKey(
            session_id=input.session_id,
            organization_id=input.organization_id,
            turn_id=input.judgement_id,
            node_id=JUDGE_NODE_ID,
            model=input.model,
            asked=digest_of(instructions, transcript, str(input.seed)),
        )
        return await self._idempotent_caller.call(key, call_model)

    async def _conversation(self, session: "StoredSession", input: JudgeInput) -> Conversation:
        """The visible branch of the session, with its variables, cost and completion reason at the end."""
        head = session.head
        assert head is not None, "the session is recorded"
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        context = {**session.initial_context, **head.fetched_context}
        return Conversation(
            turns=await self._turns(session.id, head.head_turn_id),
            variables=template_values(definition, context, head.gathered_context),
            cost_usd=head.cost.total,
            completion_reason=head.completion_reason,
        )

    async def _turns(self, session_id: str, leaf_turn_id: str | None) -> tuple[Turn, ...]:
        turns: list[Turn] = []
        while leaf_turn_id is not None:
            before = turns[0].index if turns else None
            page = await self._sessions.turns(
                session_id, leaf_turn_id=leaf_turn_id, limit=TURN_PAGE_SIZE, before_index=before
            )
            turns = [*page, *turns]
            if len(page) < TURN_PAGE_SIZE:
                break
        return tuple(turns)

    async def _bill(self, input: JudgeInput, session: "StoredSession", reply: ModelReply) -> None:
        """Write one ledger row, keyed by the judgement's id: billing it again changes nothing."""
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
                auxiliary_calls=(judgement,),
            )
        )


def _criteria(input: JudgeInput, reply: ModelReply, turns: tuple[Turn, ...]) -> tuple[CriterionVerdict, ...]:
    """The verdicts in a judge's reply; inconclusive ones when the reply holds none."""
    criteria = input.scenario.success
    if reply.interrupted:
        return inconclusive_verdicts(criteria, "The judge was interrupted.")
    recorded = next((call.arguments for call in reply.tool_calls if call.name == VERDICT_TOOL), None)
    if recorded is None or recorded.keys() == {UNPARSED_ARGUMENTS}:
        return inconclusive_verdicts(criteria, "The judge recorded nothing that can be read.")
    return parse_verdicts(criteria, recorded, turns)
