"""Writes the summaries of long conversations, one paid call for each at most."""

from contextlib import aclosing
from typing import TYPE_CHECKING

from temporalio import activity

from activities.charge_once import AuxiliaryCallKey, IdempotentCaller
from activities.earlier_messages import EarlierMessages
from activities.fitted_calls import call_with_earlier_messages
from activities.llm.interface import ModelAnswer, ModelCall, ModelCaller
from activities.spending_limit import SpendingLimit
from contracts.summaries import SummarizeTurnsInput, SummarizeTurnsResult
from domain.agents.definition import AgentDefinition
from domain.turns.call_digest import digest_of
from domain.turns.context_window import TokenRate, context_limit, messages_size
from domain.turns.model_request import RequestMessage, saved_messages
from domain.turns.summaries import SUMMARY_NODE_ID, summary_instructions, summary_request
from domain.turns.turn import UserSaid

if TYPE_CHECKING:
    from store.agents import AgentStore
    from store.sessions.steps import StepStore


class SummaryActivities:
    """Summarises branches of conversations up to a step, each on top of the summary before it on the same branch."""

    def __init__(
        self,
        *,
        steps: "StepStore",
        agents: "AgentStore",
        limit: SpendingLimit,
        caller: ModelCaller,
        max_context_tokens: int,
    ) -> None:
        self._steps = steps
        self._agents = agents
        self._limit = limit
        self._caller = caller
        self._max_context_tokens = max_context_tokens
        self._idempotent_caller = IdempotentCaller(steps=steps)

    @activity.defn
    async def summarize_turns(self, input: SummarizeTurnsInput) -> SummarizeTurnsResult:
        """Write the summary up to a step, or return the stored one.

        Fails like `generate_step`, and with the non-retryable type `quota_exceeded` above the organization's monthly
        limit. When the workflow cancels the activity, the result holds the usage so far.
        """
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        assert definition.compaction is not None, "only agents with compaction have summaries"
        model = definition.compaction.model or input.model
        limit = context_limit(
            definition.max_context_tokens, self._max_context_tokens, self._caller.context_window(model)
        )
        instructions = summary_instructions(definition.compaction, limit)

        async def call_model(earlier: EarlierMessages) -> ModelAnswer:
            await self._limit.require(input.organization_id)
            new = (UserSaid(text=await self._conversation(input, definition, limit)),)
            call = ModelCall(
                model=model, instructions=instructions, history=(), messages=new, tools=(), timeout=input.timeout
            )
            return await call_with_earlier_messages(
                self._caller, call, earlier, limit=limit, price_per_second=input.price_per_second
            )

        key = AuxiliaryCallKey(
            session_id=input.session_id,
            organization_id=input.organization_id,
            turn_id=input.call_id,
            node_id=SUMMARY_NODE_ID,
            model=model,
            asked=digest_of(instructions, input.digest),
        )
        stored = await self._idempotent_caller.call(key, call_model)
        reply = stored.reply
        return SummarizeTurnsResult(
            usage=reply.usage,
            cost=reply.cost,
            is_usable=bool(reply.text) and not reply.interrupted,
            reused=stored.reused,
        )

    async def _conversation(self, input: SummarizeTurnsInput, definition: AgentDefinition, limit: int) -> str:
        """The branch up to the step, from the newest summary on, as far back as the limit goes."""
        rate = TokenRate.estimate()
        newest_first: list[tuple[str, tuple[RequestMessage, ...]]] = []
        size = 0
        async with aclosing(self._steps.turns_before(input.session_id, input.digest)) as turns:
            async for turn in turns:
                messages = tuple(message for step in turn.steps for message in saved_messages(step.messages))
                size += messages_size(messages)
                if newest_first and rate.of(size) > limit:
                    break
                newest_first.append((turn.digest, messages))
        written = await self._steps.summaries(input.session_id, [digest for digest, _ in newest_first])
        place = next((place for place, (digest, _) in enumerate(newest_first) if digest in written), None)
        since = newest_first if place is None else newest_first[:place]
        earlier = None if place is None else written[newest_first[place][0]]
        return summary_request(earlier, (message for _, messages in reversed(since) for message in messages))
