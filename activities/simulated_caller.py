"""Simulated users: a model writes their messages, and each of its calls is paid for at most once."""

from typing import TYPE_CHECKING

from temporalio import activity

from activities.charge_once import AuxiliaryCallKey, IdempotentCaller, StoredReply
from activities.earlier_messages import EarlierMessages
from activities.fitted_calls import call_with_earlier_messages
from activities.llm.interface import ModelAnswer, ModelCall, ModelCaller
from activities.spending_limit import SpendingLimit
from contracts.caller import PlayCallerInput, PlayCallerResult
from domain.sessions.caller_config import MAX_CALLER_MESSAGE_CHARACTERS, Utterance
from domain.sessions.caller_prompt import HANG_UP_TOOL, caller_instructions, caller_tools
from domain.turns.call_digest import digest_of
from domain.turns.context_window import context_limit
from domain.turns.engine import MAX_BLANK_REPLIES, ModelReply
from domain.turns.turn import AgentSaid, Message, UserSaid
from domain.usage import merge_costs, merge_usage

if TYPE_CHECKING:
    from store.sessions.steps import StepStore

MAX_CONTEXT_TOKENS = 8_000
"""Upper bound on a request for a simulated user, in tokens: an hour of talk. The installation's limit may be lower."""
CALLER_NODE_ID = "caller"
"""The `node_id` of simulated users' messages among the saved steps."""
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“"}


class CallerPlayer:
    """Plays simulated users. Their view of a conversation is the chain of their auxiliary model calls."""

    def __init__(
        self, *, steps: "StepStore", limit: SpendingLimit, caller: ModelCaller, max_context_tokens: int
    ) -> None:
        self._idempotent_caller = IdempotentCaller(steps=steps)
        self._max_context_tokens = max_context_tokens
        self._limit = limit
        self._caller = caller

    async def play(self, input: PlayCallerInput) -> PlayCallerResult:
        """Generate the simulated user's next message or hang up; a retry reuses the stored reply.

        A blank reply is generated again; after MAX_BLANK_REPLIES of them the result has no `line`. Fails
        like `generate_step`, and with the non-retryable type `quota_exceeded` above the organization's monthly limit.
        When the workflow cancels the activity, the result holds the usage so far.
        """
        replies: list[StoredReply] = []
        for step in range(MAX_BLANK_REPLIES):
            replies.append(await self._generate_message(input, step))
            reply = replies[-1].reply
            if reply.interrupted or _text_of(reply) or _hangs_up(input, reply):
                break
        reply = replies[-1].reply
        return PlayCallerResult(
            line=_text_of(reply) or None,
            hangs_up=_hangs_up(input, reply),
            reason=next((str(call.arguments.get("reason", "")) for call in reply.tool_calls), ""),
            usage=merge_usage(each.reply.usage for each in replies),
            cost=merge_costs(each.reply.cost for each in replies),
            reused=all(each.reused for each in replies),
        )

    async def _generate_message(self, input: PlayCallerInput, step: int) -> StoredReply:
        new_messages = tuple(map(_to_model_message, input.new_utterances)) if step == 0 else ()

        async def call_model(earlier: EarlierMessages) -> ModelAnswer:
            await self._limit.require(input.organization_id)
            call = ModelCall(
                model=input.model,
                instructions=caller_instructions(input.config, may_hang_up=input.may_hang_up),
                history=(),
                messages=new_messages,
                tools=caller_tools(may_hang_up=input.may_hang_up),
                timeout=input.timeout,
                seed=input.config.seed,
                keep_tool_calls=False,
            )
            limit = context_limit(None, self._max_context_tokens, self._caller.context_window(input.model))
            return await call_with_earlier_messages(
                self._caller,
                call,
                earlier,
                limit=min(limit, MAX_CONTEXT_TOKENS),
                price_per_second=input.price_per_second,
            )

        key = AuxiliaryCallKey(
            session_id=input.session_id,
            organization_id=input.organization_id,
            turn_id=input.call_id,
            node_id=CALLER_NODE_ID,
            model=input.model,
            asked=digest_of(
                input.config.model_dump_json(), *(f"{each.by}: {each.text}" for each in input.new_utterances)
            ),
            step=step,
            follows_turn_id=input.previous_call_id,
        )
        return await self._idempotent_caller.call(key, call_model)


class SimulationActivities:
    """Generates the messages of simulated users that do not come along with a reply."""

    def __init__(self, player: CallerPlayer) -> None:
        self._player = player

    @activity.defn
    async def play_caller(self, input: PlayCallerInput) -> PlayCallerResult:
        """Generate the simulated user's next message or hang up, as `CallerPlayer.play` does."""
        return await self._player.play(input)


def _to_model_message(spoken: Utterance) -> Message:
    """A message with the roles swapped: for the model of a simulated user, the agent is the user."""
    return UserSaid(text=spoken.text) if spoken.by == "agent" else AgentSaid(text=spoken.text)


def _text_of(reply: ModelReply) -> str:
    """The simulated user's text, without the quotation marks that some models put around it."""
    words = reply.text.strip()
    if len(words) > 1 and _QUOTES.get(words[0]) == words[-1]:
        words = words[1:-1].strip()
    return words[:MAX_CALLER_MESSAGE_CHARACTERS]


def _hangs_up(input: PlayCallerInput, reply: ModelReply) -> bool:
    return input.may_hang_up and any(call.name == HANG_UP_TOOL.name for call in reply.tool_calls)
